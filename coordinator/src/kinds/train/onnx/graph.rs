//! Building a graph: nodes, constants and names that are not taken.

use std::collections::HashSet;

use super::proto::{AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto};

/// The domain of operators that are not in the default one.
pub(super) const ML: &str = "ai.onnx.ml";

/// The name of a value in a graph.
#[derive(Clone, Debug)]
pub(super) struct Name(String);

impl Name {
    /// An input's.
    pub(super) fn input(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// A graph that is being built.
pub(super) struct Graph {
    proto: GraphProto,
    taken: HashSet<String>,
    named: usize,
}

impl Graph {
    /// Without nodes; `taken` are the names of inputs and outputs.
    pub(super) fn new(taken: HashSet<String>) -> Self {
        Self { proto: GraphProto { name: "entente".into(), ..GraphProto::default() }, taken, named: 0 }
    }

    /// The graph that was built.
    pub(super) fn finish(self) -> GraphProto {
        self.proto
    }

    /// The value of an operator over other values.
    pub(super) fn op(&mut self, op_type: &str, inputs: &[&Name]) -> Name {
        self.op_with(op_type, inputs, Vec::new())
    }

    /// The same, with attributes.
    pub(super) fn op_with(&mut self, op_type: &str, inputs: &[&Name], attribute: Vec<AttributeProto>) -> Name {
        let output = self.fresh();
        self.node(op_type, inputs, attribute, &output);
        output
    }

    /// Gives a value the name of an output.
    pub(super) fn output(&mut self, value: &Name, name: &str) {
        self.node("Identity", &[value], Vec::new(), &Name(name.to_owned()));
    }

    fn node(&mut self, op_type: &str, inputs: &[&Name], attribute: Vec<AttributeProto>, output: &Name) {
        let domain = if op_type == "LabelEncoder" { ML } else { "" };
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|name| name.0.clone()).collect(),
            output: vec![output.0.clone()],
            op_type: op_type.into(),
            attribute,
            domain: domain.into(),
        });
    }

    /// Constant numbers.
    pub(super) fn doubles(&mut self, values: &[f64]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(DataType::Double, &[values.len()], bytes)
    }

    /// Constant whole numbers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(DataType::Int64, &[values.len()], bytes)
    }

    /// A constant number without dimensions.
    pub(super) fn double(&mut self, value: f64) -> Name {
        self.constant(DataType::Double, &[], value.to_le_bytes().to_vec())
    }

    /// A constant whole number without dimensions.
    pub(super) fn int(&mut self, value: i64) -> Name {
        self.constant(DataType::Int64, &[], value.to_le_bytes().to_vec())
    }

    fn constant(&mut self, data_type: DataType, dims: &[usize], raw_data: Vec<u8>) -> Name {
        let name = self.fresh();
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type: data_type.into(),
            name: name.0.clone(),
            raw_data,
        });
        name
    }

    fn fresh(&mut self) -> Name {
        loop {
            self.named += 1;
            let name = format!("v{}", self.named);
            if !self.taken.contains(&name) {
                return Name(name);
            }
        }
    }

    /// As whole numbers.
    pub(super) fn as_int(&mut self, value: &Name) -> Name {
        self.op_with("Cast", &[value], vec![int("to", DataType::Int64 as i64)])
    }

    /// As numbers.
    pub(super) fn as_double(&mut self, value: &Name) -> Name {
        self.op_with("Cast", &[value], vec![int("to", DataType::Double as i64)])
    }

    /// The entries of a constant list at the places that `at` says.
    pub(super) fn look_up(&mut self, list: &Name, at: &Name) -> Name {
        self.op("Gather", &[list, at])
    }

    /// Sums along the second axis, which stays with one entry.
    pub(super) fn row_sum(&mut self, value: &Name) -> Name {
        let axes = self.ints(&[1]);
        self.op_with("ReduceSum", &[value, &axes], vec![int("keepdims", 1)])
    }

    /// Side by side along the second axis.
    pub(super) fn beside(&mut self, values: &[Name]) -> Name {
        let values: Vec<&Name> = values.iter().collect();
        self.op_with("Concat", &values, vec![int("axis", 1)])
    }

    /// Which of the constant list's entries each value is: a truth value for each.
    pub(super) fn is_each(&mut self, value: &Name, list: &[i64]) -> Name {
        let list = self.ints(list);
        self.op("Equal", &[value, &list])
    }
}

/// A whole number as an attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(value), r#type: AttributeType::Int.into(), ..AttributeProto::default() }
}

/// Whole numbers as an attribute.
pub(super) fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.into(), ints, r#type: AttributeType::Ints.into(), ..AttributeProto::default() }
}

/// Texts as an attribute.
pub(super) fn strings(name: &str, values: &[String]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        strings: values.iter().map(|value| value.clone().into_bytes()).collect(),
        r#type: AttributeType::Strings.into(),
        ..AttributeProto::default()
    }
}
