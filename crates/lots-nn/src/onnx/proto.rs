//! The messages of an ONNX file, as far as Lots reads and writes them (onnx.proto, ONNX IR specification).

use prost::Message;

/// Data types of tensors.
pub(crate) mod data_type {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT8: i32 = 3;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const BOOL: i32 = 9;

    /// The name of a data type.
    pub(crate) fn name(id: i32) -> String {
        const NAMES: [&str; 17] = [
            "undefined",
            "float",
            "uint8",
            "int8",
            "uint16",
            "int16",
            "int32",
            "int64",
            "string",
            "bool",
            "float16",
            "double",
            "uint32",
            "uint64",
            "complex64",
            "complex128",
            "bfloat16",
        ];
        let known = usize::try_from(id).ok().and_then(|i| NAMES.get(i));
        known.map_or_else(|| format!("data type {id}"), ToString::to_string)
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Message)]
        pub(crate) struct $name { $($(#[$attr])* pub(crate) $field: $ty,)* }
    };
}

message! {
    ModelProto {
        #[prost(int64, tag = "1")] ir_version: i64,
        #[prost(string, tag = "2")] producer_name: String,
        #[prost(string, tag = "3")] producer_version: String,
        #[prost(string, tag = "4")] domain: String,
        #[prost(int64, tag = "5")] model_version: i64,
        #[prost(string, tag = "6")] doc_string: String,
        #[prost(message, optional, tag = "7")] graph: Option<GraphProto>,
        #[prost(message, repeated, tag = "8")] opset_import: Vec<OperatorSetId>,
        #[prost(message, repeated, tag = "14")] metadata_props: Vec<StringEntry>,
    }
}
message! {
    OperatorSetId {
        #[prost(string, tag = "1")] domain: String,
        #[prost(int64, tag = "2")] version: i64,
    }
}
message! {
    StringEntry {
        #[prost(string, tag = "1")] key: String,
        #[prost(string, tag = "2")] value: String,
    }
}
message! {
    GraphProto {
        #[prost(message, repeated, tag = "1")] node: Vec<NodeProto>,
        #[prost(string, tag = "2")] name: String,
        #[prost(message, repeated, tag = "5")] initializer: Vec<TensorProto>,
        #[prost(string, tag = "10")] doc_string: String,
        #[prost(message, repeated, tag = "11")] input: Vec<ValueInfo>,
        #[prost(message, repeated, tag = "12")] output: Vec<ValueInfo>,
        #[prost(message, repeated, tag = "13")] value_info: Vec<ValueInfo>,
    }
}
message! {
    NodeProto {
        #[prost(string, repeated, tag = "1")] input: Vec<String>,
        #[prost(string, repeated, tag = "2")] output: Vec<String>,
        #[prost(string, tag = "3")] name: String,
        #[prost(string, tag = "4")] op_type: String,
        #[prost(message, repeated, tag = "5")] attribute: Vec<AttributeProto>,
        #[prost(string, tag = "6")] doc_string: String,
        #[prost(string, tag = "7")] domain: String,
    }
}
message! {
    AttributeProto {
        #[prost(string, tag = "1")] name: String,
        #[prost(float, tag = "2")] f: f32,
        #[prost(int64, tag = "3")] i: i64,
        #[prost(bytes = "vec", tag = "4")] s: Vec<u8>,
        #[prost(message, optional, tag = "5")] t: Option<TensorProto>,
        #[prost(float, repeated, tag = "7")] floats: Vec<f32>,
        #[prost(int64, repeated, tag = "8")] ints: Vec<i64>,
        #[prost(bytes = "vec", repeated, tag = "9")] strings: Vec<Vec<u8>>,
        #[prost(int32, tag = "20")] kind: i32,
    }
}
message! {
    TensorProto {
        #[prost(int64, repeated, tag = "1")] dims: Vec<i64>,
        #[prost(int32, tag = "2")] data_type: i32,
        #[prost(float, repeated, tag = "4")] float_data: Vec<f32>,
        #[prost(int32, repeated, tag = "5")] int32_data: Vec<i32>,
        #[prost(int64, repeated, tag = "7")] int64_data: Vec<i64>,
        #[prost(string, tag = "8")] name: String,
        #[prost(bytes = "vec", tag = "9")] raw_data: Vec<u8>,
        #[prost(message, repeated, tag = "13")] external_data: Vec<StringEntry>,
        #[prost(int32, tag = "14")] data_location: i32,
    }
}
message! {
    ValueInfo {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] kind: Option<TypeProto>,
    }
}
message! {
    TypeProto {
        #[prost(message, optional, tag = "1")] tensor: Option<TensorType>,
    }
}
message! {
    TensorType {
        #[prost(int32, tag = "1")] elem_type: i32,
        #[prost(message, optional, tag = "2")] shape: Option<ShapeProto>,
    }
}
message! {
    ShapeProto {
        #[prost(message, repeated, tag = "1")] dim: Vec<Dim>,
    }
}
message! {
    /// One axis: a size, or a name for a size that varies.
    Dim {
        #[prost(int64, optional, tag = "1")] value: Option<i64>,
        #[prost(string, optional, tag = "2")] param: Option<String>,
    }
}
