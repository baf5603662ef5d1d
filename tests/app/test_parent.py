import signal
import subprocess
import sys

CHILD = "import signal; from app import parent; parent.follow(); print('up', flush=True)\nwhile True: signal.pause()"


def test_a_child_asks_itself_to_end_when_its_parent_has_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"up\n"
        assert child.poll() is None
        child.stdin.close()  # what the system does when the parent is killed
        try:
            assert child.wait(30) == -signal.SIGTERM
        finally:
            child.kill()
