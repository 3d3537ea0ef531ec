"""Lay Truss's server out as its image has it, and become it: `python start.py FOLDER`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = Path(sys.argv[1]).resolve()
app, context = TARGET / "app", TARGET / "context"
if not (app / "main.py").exists():
    shutil.rmtree(TARGET, ignore_errors=True)
    truss = Path(sys.executable).with_name("truss")
    subprocess.run([truss, "image", "build-context", context, HERE], check=True)
    shutil.copytree(context / "server", app)
    shutil.copy(context / "config.yaml", app)
shutil.copytree(HERE / "model", app / "model", dirs_exist_ok=True)  # it may have changed since
os.chdir(app)
os.execv(sys.executable, [sys.executable, "main.py"])  # noqa: S606 - the image's entry point, as it stands there
