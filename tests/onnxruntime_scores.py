"""Scores segments with a model file in plain onnxruntime, as anybody could, and prints all outputs as JSON.

    python3 onnxruntime_scores.py PACKAGES MODEL FEATURES

PACKAGES is a folder with onnxruntime and numpy; FEATURES is JSON, [segments][regions][dims], one stream in order.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

import numpy
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
with open(sys.argv[3], encoding="utf-8") as file:
    segments = numpy.array(json.load(file), dtype=numpy.float32)
manifest = json.loads(session.get_modelmeta().custom_metadata_map["sigmawatch.manifest"])
states = {
    state["name"]: numpy.zeros([1, *state["shape"]], dtype=numpy.float32)
    for state in manifest["spec"].get("state", [])
}
names = [output.name for output in session.get_outputs()]
found = {name: [] for name in names}
# A model that remembers sees one segment after the other, and gets back what it gave.
for batch in numpy.split(segments, len(segments)) if states else [segments]:
    outputs = dict(zip(names, session.run(names, {"features": batch, **states})))
    states = {name: outputs[name + "_next"] for name in states}
    for name in names:
        found[name] += outputs[name].tolist()
json.dump(found, sys.stdout)
