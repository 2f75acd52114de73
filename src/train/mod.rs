//! Features -> a scorer, learned in place and written as ONNX.
