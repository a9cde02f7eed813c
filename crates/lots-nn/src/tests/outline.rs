//! Where logits are, and which layers sum a network up.

use super::model::{Model, int, ints};
use crate::graph::Graph;
use crate::network::{LayerId, Network};

fn names(graph: &Graph, layers: &[LayerId]) -> Vec<String> {
    graph.layers().iter().filter(|l| layers.contains(&l.id)).map(|l| l.name.clone()).collect()
}

fn landmarks(model: &Model) -> String {
    let graph = Graph::from_onnx(&model.bytes(), "network").unwrap();
    let found = graph.landmarks();
    assert!(found.is_sorted(), "{found:?}");
    names(&graph, &found).join(" ")
}

/// A network as it grows: each node is called as the value that it makes.
struct Growing(Model);

impl Growing {
    /// Takes two channels of 8×8.
    fn new() -> Self {
        Self(Model::new(&[2, 8, 8]).floats("w", &[2, 2, 1, 1]).floats("half", &[]))
    }

    fn node(&mut self, op: &str, from: &[&str], to: &str) -> &mut Self {
        let attributes = match op {
            "MaxPool" => vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
            "Concat" => vec![int("axis", 1)],
            _ => vec![],
        };
        self.0 = self.0.clone().node(to, op, from, to, attributes);
        self
    }

    fn conv(&mut self, from: &str, to: &str) -> &mut Self {
        self.node("Conv", &[from, "w"], to)
    }

    /// conv, ReLU, conv, and the way around them.
    fn residual(&mut self, from: &str, name: &str) -> &mut Self {
        let [a, r, b, sum] = ["a", "r", "b", "sum"].map(|part| format!("{name}.{part}"));
        self.conv(from, &a).node("Relu", &[&a], &r).conv(&r, &b);
        self.node("Add", &[&b, from], &sum).node("Relu", &[&sum], name)
    }

    /// To four logits out of two channels of `side`×`side`.
    fn head(&mut self, from: &str, side: usize) -> &mut Self {
        self.0 = self.0.clone().floats("fc.w", &[2 * side * side, 4]);
        self.node("Flatten", &[from], "flat").node("Gemm", &["flat", "fc.w"], "fc")
    }

    fn output(&self, name: &str) -> Model {
        self.0.clone().output(name)
    }
}

#[test]
fn few_layers_are_all_landmarks() {
    assert_eq!(landmarks_of(&crate::lenet(0)), "conv1 conv2 ip1 ip2");
    let mut net = Growing::new();
    net.conv("image", "c1")
        .residual("c1", "b1")
        .residual("b1", "b2")
        .residual("b2", "b3")
        .head("b3", 8);
    assert_eq!(landmarks(&net.output("fc")), "c1 b1.a b1.b b2.a b2.b b3.a b3.b fc");
}

fn landmarks_of(graph: &Graph) -> String {
    names(graph, &graph.landmarks()).join(" ")
}

#[test]
fn of_many_layers_blocks_and_changes_of_size_are_landmarks() {
    let mut net = Growing::new();
    // What lies before the first layer with weights is preprocessing, branches or not.
    net.node("Mul", &["image", "half"], "halved").node("Add", &["halved", "image"], "mixed");
    net.conv("mixed", "c1").node("Relu", &["c1"], "r1").node("MaxPool", &["r1"], "p1");
    net.residual("p1", "b1").residual("b1", "b2").residual("b2", "b3");
    net.conv("b3", "c2").node("MaxPool", &["c2"], "p2").residual("p2", "b4");
    net.node("GlobalAveragePool", &["b4"], "mean").head("mean", 1).node("Softmax", &["fc"], "p");
    assert_eq!(landmarks(&net.output("p")), "r1 b1 b2 b3 c2 b4 fc");
}

#[test]
fn a_plain_chain_has_landmarks_before_its_pools_and_at_its_end() {
    let mut net = Growing::new();
    let mut from = "image".to_owned();
    for stage in 1..=3 {
        for i in 1..=3 {
            let (c, r) = (format!("c{stage}{i}"), format!("r{stage}{i}"));
            net.conv(&from, &c).node("Relu", &[&c], &r);
            from = r;
        }
        let pool = format!("p{stage}");
        net.node("MaxPool", &[&from], &pool);
        from = pool;
    }
    net.head("p3", 1);
    net.0 = net.0.clone().floats("fc2.w", &[4, 4]);
    net.node("Relu", &["fc"], "relu").node("Gemm", &["relu", "fc2.w"], "fc2");
    assert_eq!(landmarks(&net.output("fc2")), "r13 r23 r33 fc fc2");
}

/// Nine convolutions that all meet at one sum; and a branch that leads nowhere.
#[test]
fn what_one_path_goes_around_is_no_landmark() {
    let mut net = Growing::new();
    net.conv("image", "c0");
    let mut sum = "c0".to_owned();
    for i in 1..=8 {
        let (c, s) = (format!("c{i}"), format!("s{i}"));
        net.conv("c0", &c).node("Add", &[&sum, &c], &s);
        sum = s;
    }
    net.conv("s8", "dead").head("s8", 8);
    assert_eq!(landmarks(&net.output("fc")), "s8 fc");
}

#[test]
fn logits_lie_before_what_squashes_them() {
    let cases: [(&[&str], &str, &str); 6] = [
        (&[], "fc", ""),
        (&["Softmax"], "n0", "fc n0"),
        (&["Softmax", "Identity"], "n1", "fc n0"),
        (&["Identity", "Softmax"], "n1", "n0 n1"),
        // Not at the end.
        (&["Softmax", "Relu"], "n1", ""),
        (&["Relu"], "n0", ""),
    ];
    for (ops, output, wanted) in cases {
        let mut net = Growing::new();
        net.conv("image", "c").head("c", 8);
        let mut from = "fc".to_owned();
        for (i, op) in ops.iter().enumerate() {
            let to = format!("n{i}");
            net.node(op, &[&from], &to);
            from = to;
        }
        let graph = Graph::from_onnx(&net.output(output).bytes(), "network").unwrap();
        let found = graph.squashed_output().map_or(vec![], |(logits, p)| vec![logits, p]);
        assert_eq!(names(&graph, &found).join(" "), wanted, "{ops:?}");
    }
    // Nothing but a Softmax: there are no logits.
    let model = Model::new(&[4]).node("s", "Softmax", &["image"], "y", vec![]).output("y");
    assert_eq!(Graph::from_onnx(&model.bytes(), "softmax").unwrap().squashed_output(), None);
}
