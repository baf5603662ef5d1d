"""Jobs and reports as tables for a terminal."""

from app.printing.datasets import dataset_lines as dataset_lines
from app.printing.datasets import datasets_table as datasets_table
from app.printing.jobs import job_lines as job_lines
from app.printing.jobs import jobs_table as jobs_table
from app.printing.keys import audit_table as audit_table
from app.printing.keys import keys_table as keys_table
from app.printing.report import result as result
