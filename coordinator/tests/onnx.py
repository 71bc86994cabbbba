"""Runs every NAME.onnx of a folder over the rows of NAME.csv with ONNX Runtime and compares its outputs.

Columns of the CSV: `in:FEATURE` with raw values, empty where missing, and `out:OUTPUT` with what is expected.
Usage: python3 onnx.py FOLDER; needs onnxruntime and numpy. Exit code 1 if an output is off by more than 1e-9.
"""

import csv
import pathlib
import sys

import numpy
import onnxruntime


def inputs(session, header, rows):
    feeds = {}
    for port in session.get_inputs():
        column = header.index("in:" + port.name)
        texts = [row[column] for row in rows]
        if port.type == "tensor(string)":
            array = numpy.array(texts, dtype=object)
        else:
            array = numpy.array([float(text) if text else numpy.nan for text in texts], dtype=numpy.float64)
        feeds[port.name] = array.reshape(-1, 1)
    return feeds


def main(folder):
    onnxruntime.set_default_logger_severity(3)
    files = sorted(pathlib.Path(folder).glob("*.onnx"))
    worst = 0.0
    for path in files:
        with open(path.with_suffix(".csv"), newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_outputs()]
        if sorted("out:" + name for name in names) != sorted(name for name in header if name.startswith("out:")):
            sys.exit(f"{path.name}: outputs are {names}")
        for name, got in zip(names, session.run(names, inputs(session, header, rows))):
            column = header.index("out:" + name)
            expected = numpy.array([float(row[column]) for row in rows]).reshape(-1, 1)
            if got.shape != expected.shape:
                sys.exit(f"{path.name}: `{name}` has shape {got.shape} rather than {expected.shape}")
            error = numpy.max(numpy.abs(got - expected) / numpy.maximum(1.0, numpy.abs(expected)))
            worst = max(worst, float(error))
            if not error <= 1e-9:
                row = int(numpy.argmax(numpy.abs(got - expected)))
                sys.exit(f"{path.name}: `{name}` of row {row} is {got[row, 0]!r} rather than {expected[row, 0]!r}: {rows[row]}")
    print(f"{len(files)} models agree; onnxruntime {onnxruntime.__version__}, largest error {worst:.1e}")
    return 0 if files else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
