//! Models that fail: refused before they are let in, or seen to fail while everything else goes on.

use crate::daemon::{Says, write_scorer};
use crate::program::{Home, sigmawatch};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto,
};
use onnx_protobuf::{attribute_proto::AttributeType, tensor_proto::DataType, type_proto};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

const PLAZA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"";

fn node(operator: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: vec![output.into()],
        attribute: attributes,
        ..Default::default()
    }
}

fn constant(name: &str, dims: &[i64], floats: &[f32], ints: &[i64]) -> TensorProto {
    let kind = if ints.is_empty() { DataType::FLOAT } else { DataType::INT64 };
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: kind as i32,
        float_data: floats.to_vec(),
        int64_data: ints.to_vec(),
        ..Default::default()
    }
}

fn value(name: &str, kind: DataType, dims: usize) -> ValueInfoProto {
    let shape = onnx_protobuf::TensorShapeProto { dim: vec![Default::default(); dims], ..Default::default() };
    let tensor =
        type_proto::Tensor { elem_type: kind as i32, shape: Some(shape).into(), ..Default::default() };
    let of = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(of).into(), ..Default::default() }
}

/// Changes the graph of the model file behind its back: what gave the score now gives `before`.
fn rework(path: &Path, change: impl FnOnce(&mut GraphProto)) {
    let bytes = std::fs::read(path).expect("a model");
    let mut model = ModelProto::parse_from_bytes(&bytes).expect("parses");
    let graph = model.graph.as_mut().expect("a graph");
    for output in graph.node.iter_mut().flat_map(|node| &mut node.output) {
        if output == "score" {
            *output = "before".into();
        }
    }
    change(graph);
    std::fs::write(path, model.write_to_bytes().expect("bytes")).expect("written");
}

/// Runs round and round as many times as the tensor `rounds` says.
fn go_round(graph: &mut GraphProto) {
    let body = GraphProto {
        name: "round".into(),
        node: vec![node("Identity", &["go_on"], "still", vec![]), node("Sqrt", &["of"], "next", vec![])],
        input: vec![
            value("round", DataType::INT64, 0),
            value("go_on", DataType::BOOL, 0),
            value("of", DataType::FLOAT, 1),
        ],
        output: vec![value("still", DataType::BOOL, 0), value("next", DataType::FLOAT, 1)],
        ..Default::default()
    };
    let body = AttributeProto {
        name: "body".into(),
        type_: AttributeType::GRAPH.into(),
        g: Some(body).into(),
        ..Default::default()
    };
    graph.node.push(node("Loop", &["rounds", "", "before"], "score", vec![body]));
}

fn endless(path: &Path) {
    write_scorer(path, 96, 64, Says::Unusual);
    rework(path, |graph| {
        graph.initializer.push(constant("rounds", &[], &[], &[i64::MAX]));
        go_round(graph);
    });
}

/// Runs at first sight, and never ends on what the plaza's features are like: small numbers.
fn endless_later(path: &Path) {
    write_scorer(path, 96, 64, Says::Unusual);
    rework(path, |graph| {
        graph.initializer.push(constant("small", &[], &[0.2], &[]));
        graph.initializer.push(constant("many", &[], &[], &[1 << 50]));
        let to_int = AttributeProto {
            name: "to".into(),
            type_: AttributeType::INT.into(),
            i: DataType::INT64 as i64,
            ..Default::default()
        };
        let scalar = AttributeProto {
            name: "keepdims".into(),
            type_: AttributeType::INT.into(),
            i: 0,
            ..Default::default()
        };
        graph.node.extend([
            node("ReduceMean", &["features"], "mean", vec![scalar]),
            node("Less", &["mean", "small"], "less", vec![]),
            node("Cast", &["less"], "one", vec![to_int]),
            node("Mul", &["one", "many"], "rounds", vec![]),
        ]);
        go_round(graph);
    });
}

/// Wants forty gigabytes.
fn huge(path: &Path) {
    write_scorer(path, 96, 64, Says::Unusual);
    rework(path, |graph| {
        graph.initializer.push(constant("vast", &[2], &[], &[100_000, 100_000]));
        let scalar = AttributeProto {
            name: "keepdims".into(),
            type_: AttributeType::INT.into(),
            i: 0,
            ..Default::default()
        };
        graph.node.extend([
            node("ConstantOfShape", &["vast"], "plain", vec![]),
            node("ReduceMean", &["plain"], "nothing", vec![scalar]),
            node("Add", &["before", "nothing"], "score", vec![]),
        ]);
    });
}

fn tried(model: &Path, more: &[&str]) -> (Output, Value) {
    let output = sigmawatch(["models", "try", "--json"]).args(more).arg(model).output().expect("it runs");
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, said)
}

#[test]
fn a_model_is_tried_where_it_can_do_no_harm() {
    let home = Home::new("", PLAZA);
    let model = home.path("m.onnx");
    write_scorer(&model, 96, 64, Says::Unusual);
    let (output, said) = tried(&model, &[]);
    assert!(output.status.success() && said["ok"] == true, "{output:?}");

    endless(&model);
    let began = Instant::now();
    let (output, said) = tried(&model, &["--seconds", "2"]);
    assert_eq!((output.status.code(), &said["ok"]), (Some(1), &Value::from(false)), "{output:?}");
    assert!(
        said["problem"].as_str().expect("a problem").contains("does not load and run within 2 s"),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());

    huge(&model);
    let (output, said) = tried(&model, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    println!("{said}");

    // Every damage is refused in words, whatever it does to the process that tries it.
    write_scorer(&model, 96, 64, Says::Unusual);
    let whole = std::fs::read(&model).expect("a model");
    for cut in [1, 3, 5] {
        std::fs::write(&model, &whole[..whole.len() * cut / 7]).expect("written");
        let (output, said) = tried(&model, &[]);
        assert_eq!((output.status.code(), &said["ok"]), (Some(1), &Value::from(false)), "{output:?}");
    }
}

#[test]
fn a_daemon_does_not_start_with_a_model_that_wants_all_memory() {
    let home = Home::new("", "");
    huge(&home.path("huge.onnx"));
    home.configure("width = 96\nheight = 64\nscorer = \"huge.onnx\"", PLAZA);
    let refused = home.refusal();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && refused.status.code().is_some(), "{said}");
    assert!(said.contains("huge.onnx"), "{said}");
}

#[test]
fn a_run_that_never_ends_is_stopped_and_keeps_nobody_else_from_watching() {
    let home = Home::new("", "");
    write_scorer(&home.path("good.onnx"), 96, 64, Says::Either);
    endless_later(&home.path("bad.onnx"));
    let camera = |name: &str| {
        format!(
            "[[camera]]\nname = \"{name}\"\nsource = \"synthetic\"\n[camera.detector]\nscorer = \"{name}.onnx\"\n"
        )
    };
    home.configure("width = 96\nheight = 64", &(camera("good") + &camera("bad")));
    let daemon = home.start();
    let status = |name: &str| daemon.json(&format!("/api/cameras/{name}"));
    let segments = |name: &str| status(name)["detectors"][0]["segments"].as_u64().expect("a number");
    daemon.until("the stop of a run", || {
        let problem = status("bad")["problem"].as_str().unwrap_or_default().to_owned();
        problem.contains("took longer than 5000 ms and was stopped").then_some(())
    });
    daemon.until("the end of patience", || {
        let problem = status("bad")["problem"].as_str().unwrap_or_default().to_owned();
        problem.contains("2 runs in a row took longer").then_some(())
    });
    let (before, began) = (segments("good"), Instant::now());
    daemon.until("the other camera's scores", || (segments("good") >= before + 10).then_some(()));
    println!("10 segments of the other camera in {:?}", began.elapsed());
    assert_eq!(status("good")["healthy"], true, "{}", status("good"));
    assert_eq!(daemon.get("/readyz").status(), 200);
    let metrics = daemon.text("/metrics");
    assert!(metrics.contains("\nsigmawatch_detectors_unhealthy 1\n"), "{metrics}");
    assert!(!daemon.stop().contains("stuck"), "the watchdog was fed all the time");
}

#[test]
fn a_model_that_always_says_the_same_is_named() {
    let home = Home::new("", "");
    write_scorer(&home.path("same.onnx"), 96, 64, Says::Unusual);
    home.configure("width = 96\nheight = 64\nscorer = \"same.onnx\"", PLAZA);
    let daemon = home.start();
    let problem = daemon.until("a problem", || {
        let camera = daemon.json("/api/cameras/plaza");
        camera["problem"].as_str().map(str::to_owned)
    });
    assert!(problem.contains("the same score whatever it is shown"), "{problem}");
    assert_eq!(daemon.stop().matches("whatever it is shown").count(), 1, "said once");
}
