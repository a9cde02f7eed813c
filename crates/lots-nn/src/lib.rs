//! Networks as graphs of ONNX operators.
