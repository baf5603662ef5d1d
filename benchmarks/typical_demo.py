"""Is the demo's verdict typical? The same job over ten job seeds."""

import json

from benchmarks.jobs import arguments, keep, report_of


def main() -> None:
    options = arguments(__doc__)
    spec = json.loads(options.spec.read_text())
    rows = []
    for seed in range(10):
        report = report_of(spec | {"name": f"{spec['name']}-{seed}", "seed": seed}, options)
        arms = report["confirmation"]["arms"]
        means = {name: arm["mean"] for name, arm in arms.items()}
        rows.append({"seed": seed, "p": report["confirmation"]["p"], "means": means, "verdict": report["verdict"]})
        shown = "  ".join(f"{name} {100 * mean:.2f}" for name, mean in means.items())
        print(f"seed {seed}: p = {rows[-1]['p']:.4f}  {shown}\n    {rows[-1]['verdict']}", flush=True)
    print(f"p <= .05 in {sum(row['p'] <= 0.05 for row in rows)} of {len(rows)} job seeds")
    keep("typical_demo", rows)


if __name__ == "__main__":
    main()
