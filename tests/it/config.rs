//! The configuration: the manual against the code, every mistake at once, hostile files, no secrets.

use sigmawatch::config::{
    Budget, Fusion, FusionRule, Invalid, Loaded, Method, Scorer, Source, load, load_with,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A folder with what a configuration refers to.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(dir.path().join("pipelines")).expect("a folder");
        std::fs::create_dir_all(dir.path().join("runtime")).expect("a folder");
        for file in ["pipelines/rtsp.pipeline", "pipelines/file.pipeline", "pipelines/mine.pipeline"] {
            std::fs::write(dir.path().join(file), "").expect("a file");
        }
        std::fs::write(dir.path().join("runtime/libonnxruntime.so"), "").expect("a file");
        Self { dir }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    fn load(&self, text: &str) -> Result<Loaded, Invalid> {
        let env = |name: &str| match name {
            "CAM_PASSWORD" => Some("p@ss:w/rd".to_string()),
            "CREDENTIALS_DIRECTORY" => Some(self.dir.path().join("credentials").display().to_string()),
            _ => None,
        };
        load_with(&self.write("c.toml", text), &env)
    }

    fn gst(&self, camera: &str) -> sigmawatch::config::Gst {
        let text = format!("[[camera]]\nname = \"a\"\nsource = \"rtsp\"\n{camera}");
        match self.load(&text).expect(camera).config.cameras.remove(0).source {
            Source::Gst(gst) => gst,
            other => panic!("{other:?}"),
        }
    }
}

fn sigmawatch(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sigmawatch"))
        .args(args)
        .env("SIGMAWATCH_ORT_LIB", ort_library())
        .output()
        .expect("the program starts")
}

/// The ONNX Runtime library that `make test` fetched, or another that the environment names.
fn ort_library() -> PathBuf {
    std::env::var_os("SIGMAWATCH_ORT_LIB").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so"),
        PathBuf::from,
    )
}

const USER: &str = "[[user]]\nname = \"anna\"\nrole = \"admin\"\ntoken_hash = \
    \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n";
const CAMERA: &str = "[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n";

#[test]
fn the_shipped_configuration_works_and_runs_the_demo_camera() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let text = std::fs::read_to_string(&path).expect("config.toml");
    // The library may not have been fetched where only the tests run: its key is what is not tested here.
    let place = Place::new();
    let loaded = place.load(&text).expect("config.toml is good");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.cameras.len(), 1);
    assert!(matches!(loaded.config.cameras[0].source, Source::Synthetic(_)));
    assert_eq!(loaded.config.cameras[0].detectors[0].learning.watch_for, Duration::from_secs(60));
    assert!(loaded.config.http.listen.ip().is_loopback());
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let place = Place::new();
    let text = "\
[http]
listen = 8710
[detector]
strid = 8
k = \"four\"
open_n = 4
[stor]
keep = \"30d\"
[[camera]]
name = \"Front Door\"
[[camera]]
name = \"b\"
source = \"file\"
location = \"no/such.mp4\"
stall_after = \"5 sec\"
[[camera]]
name = \"b\"
source = \"rtsp\"
location = \"http://host/\"
detector.scorer = \"no/such.onnx\"
";
    let invalid = place.load(text).expect_err("full of mistakes");
    let found: Vec<(usize, &str)> = invalid.problems.iter().map(|p| (p.line, p.key.as_str())).collect();
    let wanted = [
        (2, "http.listen"),
        (4, "detector.strid"),
        (5, "detector.k"),
        (7, "stor"),
        (9, "camera[1].source"),
        (10, "camera[1].name"),
        (15, "camera.b.stall_after"),
        (17, "camera.b.name"),
        (19, "camera.b.location"),
        (20, "camera.b.detector.scorer"),
    ];
    for wanted in wanted {
        assert!(found.contains(&wanted), "{wanted:?} is missing in {invalid}");
    }
    let said = invalid.to_string();
    for part in ["did you mean \"stride\"", "did you mean \"store\"", "open_n at most open_m", "c.toml:5:5: "]
    {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    assert!(invalid.problems.iter().all(|p| !p.remedy.is_empty() && !p.message.is_empty()));
}

#[test]
fn broken_syntax_does_not_hide_the_other_mistakes() {
    let place = Place::new();
    let invalid = place.load("[http]\nlisten = \n[store]\nkeep = 5\n[detector\nk = 4\n").expect_err("broken");
    let lines: Vec<usize> = invalid.problems.iter().map(|p| p.line).collect();
    assert!(lines.contains(&2) && lines.contains(&4) && lines.contains(&5), "{invalid}");
}

#[test]
fn mistakes_of_form_are_explained() {
    let place = Place::new();
    for (text, part) in [
        ("", "there is no camera"),
        ("[camera]\nname = \"a\"\nsource = \"synthetic\"\n", "begin each camera with [[camera]]"),
        ("k = 4\n[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n", "it belongs under [detector]"),
        (
            "http = 5\n[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n",
            "write [http] and its keys below it",
        ),
        (
            "[[camera]]\nname = \"a\"\nsource = \"nosuch\"\nlocation = \"x\"\n",
            "choose one of synthetic, file, mine, rtsp",
        ),
        ("[[camera]]\nname = \"a\"\nsource = \"../x\"\nlocation = \"x\"\n", "not a name"),
        ("[[camera]]\nname = \"a\"\nsource = \"rtsp\"\n", "add location = \"rtsp://"),
        ("[[camera]]\nname = \"a\"\nname = \"b\"\nsource = \"synthetic\"\n", "duplicate key"),
        (
            "[detector]\nk = nan\n[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n",
            "a number from 0 to 1000",
        ),
        ("[detector]\nwatch_for = \"1s\"\n", "from 20s to 7d"),
        (
            "[detector]\nextractor = \"v2\"\n[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n",
            "ends in .onnx",
        ),
    ] {
        let said = place.load(text).expect_err(text).to_string();
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
}

#[test]
fn a_budget_is_so_many_alarms_in_some_time() {
    let place = Place::new();
    let budget = |text: &str| {
        let text = format!(
            "[detector]\nbudget = \"2/day\"\n[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n{text}"
        );
        place.load(&text).map(|loaded| loaded.config.cameras[0].detectors[0].threshold.budget)
    };
    assert_eq!(budget("").expect("good"), Budget::parse("2/day"));
    assert_eq!(budget("detector.budget = \"1/week\"").expect("good"), Some(Budget::WEEKLY));
    assert_eq!(budget("detector.budget = \"none\"").expect("good"), None);
    for wrong in ["often", "0/day", "100/hour", "1 a day"] {
        let invalid = budget(&format!("detector.budget = \"{wrong}\"")).expect_err("wrong").to_string();
        assert!(invalid.contains("camera.a.detector.budget") && invalid.contains("1/hour"), "{invalid}");
    }
}

#[test]
fn cameras_take_the_detector_keys_that_they_do_not_give() {
    let place = Place::new();
    let text = format!(
        "[detector]\nk = 7\nstride = 16\n{CAMERA}detector.k = 3.5\n[[camera]]\nname = \"b\"\nsource = \"synthetic\"\n"
    );
    let cameras = place.load(&text).expect("good").config.cameras;
    let seen: Vec<_> = cameras.iter().map(|c| (c.detectors[0].threshold.k, c.detectors[0].stride)).collect();
    assert_eq!(seen, [(3.5, 16), (7.0, 16)]);
}

#[test]
fn an_extractor_has_the_stride_that_suits_it_unless_told() {
    let place = Place::new();
    place.write("net.onnx", "");
    let stride = |detector: &str| {
        let text = format!("[detector]\n{detector}\n{CAMERA}");
        place.load(&text).expect("good").config.cameras[0].detectors[0].stride
    };
    assert_eq!(stride(""), 2);
    assert_eq!(stride("extractor = \"net.onnx\""), 16);
    assert_eq!(stride("extractor = \"net.onnx\"\nstride = 4"), 4);
}

#[test]
fn credentials_are_taken_from_wherever_they_are_kept() {
    let place = Place::new();
    std::fs::create_dir(place.dir.path().join("credentials")).expect("a folder");
    place.write("credentials/gate", "from systemd\n");
    place.write("gate.password", "from a file\n");
    let location = "location = \"rtsp://10.0.0.5/h\"\nuser = \"u\"\n";
    for (camera, password) in [
        (format!("{location}password = 'p\"a$${{s}}'\n"), "p\"a${s}"),
        (format!("{location}password = \"${{CAM_PASSWORD}}\"\n"), "p@ss:w/rd"),
        (format!("{location}password_file = \"gate.password\"\n"), "from a file"),
        (format!("{location}password_file = \"gate\"\n"), "from systemd"),
        ("location = \"rtsp://u:p%40ss@10.0.0.5/h\"\n".into(), "p@ss"),
        ("location = \"rtsp://u:${CAM_PASSWORD}@10.0.0.5/h\"\n".into(), "p@ss:w/rd"),
    ] {
        let gst = place.gst(&camera);
        assert_eq!(gst.password.as_deref(), Some(password), "{camera}");
        assert_eq!(
            (gst.user.as_deref(), gst.location.as_str()),
            (Some("u"), "rtsp://10.0.0.5/h"),
            "{camera}"
        );
    }
}

#[test]
fn a_secret_is_in_no_output_of_good_or_bad_configurations() {
    let place = Place::new();
    let secret = "c4nary";
    let camera = "[[camera]]\nname = \"a\"\nsource = \"rtsp\"\n";
    let password = "location = \"rtsp://h/\"\nuser = \"c4nary\"\npassword = ";
    for text in [
        format!("{camera}{password}\"c4nary\"\n"),
        format!("{camera}{password}\"c4nary\"\npassword_file = \"none\"\n"),
        format!("{camera}{password}[\"c4nary\"]\n"),
        format!("{camera}{password}\"${{UNSET}}c4nary\"\n"),
        format!("{camera}{password}\"c4nary\n"),
        format!("{camera}{password}c4nary\n"),
        format!("{camera}pasword = \"c4nary\"\n"),
        format!("{camera}location = \"rtsp://u:c4nary@h/\"\n"),
        format!("{camera}location = \"rtsp://u:c4nary@h/\"\nuser = \"x\"\n"),
        format!("{camera}location = \"rtsp://u:a/c4nary@h/\"\n"),
        format!("{camera}location = \"rtsp://u:c4nary%@h/\"\n"),
        format!("{camera}location = \"http://u:c4nary@h/\"\n"),
        format!("{camera}location = [\"rtsp://u:c4nary@h/\"]\n"),
        format!("{camera}location = \"rtsp://h/?password=c4nary\"\n"),
        format!("{camera}location = \"u:c4nary@h\"\n"),
    ] {
        let said = match place.load(&text) {
            Ok(good) => format!("{:?} {} {:?}", good, good.config.redacted(), good.warnings),
            Err(bad) => format!("{bad} {bad:?}"),
        };
        assert!(!said.contains(secret), "{text}\n->\n{said}");
    }
}

#[test]
fn the_view_for_people_shows_hosts_but_no_secrets() {
    let place = Place::new();
    let text = "[[camera]]\nname = \"a\"\nsource = \"rtsp\"\nlocation = \"rtsp://u:pw@h:554/s\"\n";
    let loaded = place.load(text).expect("good");
    let view = loaded.config.redacted();
    assert_eq!(view["camera"][0]["location"], "rtsp://h:554/s");
    assert_eq!(view["camera"][0]["password"], "***");
    assert_eq!(view["camera"][0]["detector"][0]["close_after"], "30s");
    assert_eq!(loaded.warnings.len(), 1, "credentials in the location are warned of");
}

#[test]
fn what_is_not_meant_is_warned_of() {
    let place = Place::new();
    for (text, key) in [
        (format!("[http]\nlisten = \"0.0.0.0:8710\"\n{USER}{CAMERA}"), "http.listen"),
        (format!("{CAMERA}transport = \"udp\"\n"), "camera.a.transport"),
        (
            "[[camera]]\nname = \"a\"\nsource = \"file\"\nlocation = \"no/such.mp4\"\n".into(),
            "camera.a.location",
        ),
    ] {
        let warnings = place.load(&text).expect("good").warnings;
        assert_eq!(warnings.iter().map(|w| w.key.as_str()).collect::<Vec<_>>(), [key]);
    }
}

#[test]
fn beyond_loopback_nobody_is_served_who_is_not_known() {
    let place = Place::new();
    let open = format!("[http]\nlisten = \"0.0.0.0:8710\"\n{CAMERA}");
    let said = place.load(&open).expect_err("open to everybody").to_string();
    assert!(said.contains("http.listen") && said.contains("sigmawatch user NAME"), "{said}");
    assert!(place.load(&format!("[http]\nlisten = \"[::1]:8710\"\n{CAMERA}")).is_ok(), "loopback");
    let tls = "tls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n";
    let safe = place.load(&format!("[http]\nlisten = \"0.0.0.0:8710\"\n{tls}{USER}{CAMERA}")).expect("good");
    assert!(safe.warnings.is_empty(), "{:?}", safe.warnings);
    assert_eq!(safe.config.users[0].name, "anna");
}

#[test]
fn users_are_checked_and_their_hashes_stay_hidden() {
    let place = Place::new();
    let user = "[[user]]\nname = \"anna\"\nrole = \"viewer\"\n";
    for (text, key) in [
        (user.to_owned(), "user.anna.password_hash"),
        (format!("{user}password_hash = \"c4nary\"\n"), "user.anna.password_hash"),
        (format!("{user}password_hash = \"${{UNSET}}\"\n"), "user.anna.password_hash"),
        (format!("{user}token_hash = \"sha256:c4nary\"\n"), "user.anna.token_hash"),
        (format!("{user}token_hash_file = \"none\"\n"), "user.anna.token_hash_file"),
        (format!("{USER}cameras = [\"attic\"]\n"), "user.anna.cameras"),
        (format!("{USER}cameras = []\n"), "user.anna.cameras"),
        (format!("{USER}expires = \"tomorrow\"\n"), "user.anna.expires"),
        (USER.replace("admin", "king"), "user.anna.role"),
        (format!("{USER}{USER}"), "user.anna.name"),
        (format!("{USER}{}", USER.replace("anna", "otto")), "user.otto.token_hash"),
        ("[user]\nname = \"anna\"\n".to_owned(), "user"),
        ("[http]\ntls_cert = \"c.pem\"\n".to_owned(), "http.tls_cert"),
    ] {
        let bad = place.load(&format!("{text}{CAMERA}")).expect_err(key);
        assert_eq!(bad.problems[0].key, key, "{text}: {bad}");
        assert!(!bad.to_string().contains("c4nary"), "{bad}");
    }
    let good = place.load(&format!("{USER}cameras = [\"a\"]\n{CAMERA}")).expect("good");
    let view = good.config.redacted();
    assert_eq!(view["user"][0]["token_hash"], "***");
    assert_eq!(view["user"][0]["cameras"], serde_json::json!(["a"]));
    assert!(!format!("{good:?}").contains("ba7816bf"));
}

#[test]
fn hostile_files_are_refused_quickly_and_without_a_panic() {
    let place = Place::new();
    let huge = place.dir.path().join("huge.toml");
    std::fs::File::create(&huge).and_then(|file| file.set_len(50 << 20)).expect("a sparse file");
    let deep = place.write("deep.toml", format!("a = {}", "[".repeat(100_000)));
    let dotted = place.write("dotted.toml", format!("{} = 1", vec!["a"; 100_000].join(".")));
    let many = place.write("many.toml", (0..40_000).map(|n| format!("key{n} = 1\n")).collect::<String>());
    let binary = place.write("binary.toml", [0x7f, b'E', b'L', b'F', 0xff, 0xfe]);
    for (path, part) in [
        (&huge, "larger than 1 MiB"),
        (&deep, "recurs"),
        (&dotted, "recurs"),
        (&many, "more"),
        (&binary, "line 1 is not UTF-8"),
        (&place.dir.path().join("none.toml"), "cannot be opened"),
        (&place.dir.path().to_path_buf(), "cannot be read"),
    ] {
        let start = Instant::now();
        let said = load(path).expect_err(part).to_string();
        assert!(said.contains(part), "{part:?} is missing in {said:.500}");
        // The limit is a second; an unoptimised build on a shared machine is given some room.
        assert!(start.elapsed() < Duration::from_secs(3), "{} took {:?}", path.display(), start.elapsed());
    }
}

#[test]
fn random_bytes_and_random_edits_never_panic() {
    use rand::{Rng, RngExt, SeedableRng};
    let place = Place::new();
    let manual =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).expect("config.toml");
    // The comment signs gone, so that edits hit keys and values.
    let keys: Vec<u8> = manual
        .split(|b| *b == b'\n')
        .filter(|l| l.contains(&b'=') || l.contains(&b'['))
        .fold(Vec::new(), |mut text, line| {
            text.extend(line.strip_prefix(b"# ").unwrap_or(line));
            text.push(b'\n');
            text
        });
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    for round in 0..300 {
        let mut bytes = keys.clone();
        if round % 3 == 0 {
            bytes = vec![0; rng.random_range(0..2000)];
            rng.fill_bytes(&mut bytes);
        } else {
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..bytes.len());
                let marks = b"\"'[]{}=.#\n\\ ,0aZ\xc3\x00-$:/@";
                bytes[at] = marks[rng.random_range(0..marks.len())];
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(invalid) = place.load(&text) {
            assert!(!invalid.problems.is_empty());
            assert!(!invalid.to_string().is_empty());
        }
    }
}

#[test]
fn check_answers_people_and_programs_with_the_right_exit_codes() {
    let place = Place::new();
    let runtime = format!("[runtime]\nonnxruntime = \"{}\"\n", ort_library().display());
    let good = place.write("good.toml", format!("{runtime}{CAMERA}"));
    let bad = place.write("bad.toml", "[detector]\nstrid = 8\nk = -1\n");
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let said = |output: &Output| {
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };

    let (code, stdout, stderr) = said(&sigmawatch(&["check", "--config", &good]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("good, 1 camera (a)"), "{stdout}");

    let (code, stdout, stderr) = said(&sigmawatch(&["check", "--config", &bad]));
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    assert!(stderr.starts_with("error: the configuration has 3 mistakes\n"), "{stderr}");
    assert_eq!(stderr.matches("error:").count(), 1, "{stderr}");

    let (code, stdout, _) = said(&sigmawatch(&["check", "--config", &bad, "--json"]));
    let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &answer["ok"]), (Some(78), &serde_json::json!(false)));
    assert_eq!(answer["problems"][1]["key"], "detector.strid");
    assert_eq!(answer["problems"][1]["line"], 2);

    assert_eq!(said(&sigmawatch(&["check", "--no-such-flag"])).0, Some(2));
    assert_eq!(said(&sigmawatch(&["--help"])).0, Some(0));
}

#[test]
fn check_opens_the_models_that_a_configuration_names() {
    let place = Place::new();
    let model = |name: &str, width: &str| {
        let path = place.dir.path().join(name).display().to_string();
        let output = sigmawatch(&["models", "export", "v1", "--out", &path, "--width", width]);
        assert!(output.status.success(), "{output:?}");
        path
    };
    let (small, large) = (model("small.onnx", "128"), model("large.onnx", "256"));
    place.write("text.onnx", "this is no model");
    let text = format!(
        "[runtime]\nonnxruntime = \"{}\"\n\
         {CAMERA}detector.extractor = \"small.onnx\"\n\
         [[camera]]\nname = \"b\"\nsource = \"synthetic\"\ndetector.extractor = \"text.onnx\"\n\
         [[camera]]\nname = \"c\"\nsource = \"synthetic\"\ndetector.scorer = \"large.onnx\"\n",
        ort_library().display()
    );
    let config = place.write("models.toml", text);
    let output = sigmawatch(&["check", "--config", &config.display().to_string(), "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problems = answer["problems"].as_array().expect("a list");
    let found: Vec<_> =
        problems.iter().map(|p| (p["line"].as_u64(), p["key"].as_str().unwrap_or(""))).collect();
    let wanted = [(Some(10), "camera.b.detector.extractor"), (Some(14), "camera.c.detector.scorer")];
    assert_eq!((output.status.code(), found.as_slice()), (Some(78), &wanted[..]), "{answer:#}");
    assert!(problems[0]["message"].as_str().is_some_and(|m| m.contains("holds text")), "{answer:#}");
    assert!(problems[1]["message"].as_str().is_some_and(|m| m.contains("is an extractor")), "{answer:#}");

    let output = sigmawatch(&["models", "list", &place.dir.path().display().to_string(), "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let files: Vec<_> =
        listed.as_array().expect("a list").iter().filter_map(|m| m["file"].as_str()).collect();
    assert_eq!(files[..2], [large.as_str(), small.as_str()]);
    assert!(listed[3]["error"].is_string(), "{listed:#}");
    let output = sigmawatch(&["models", "describe", &small, "--json"]);
    let described: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(described["manifest"]["spec"]["frame"]["width"], 128);
    assert_eq!(sigmawatch(&["models", "describe", "no/such.onnx"]).status.code(), Some(1));
}

#[test]
fn a_reader_who_has_read_enough_ends_the_program_quietly() {
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_sigmawatch"))
        .args(["models", "list"])
        .env("SIGMAWATCH_ORT_LIB", ort_library())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_scorer_is_a_method_or_a_file() {
    let place = Place::new();
    let camera = "[[camera]]\nname = \"a\"\nsource = \"synthetic\"\n";
    let scorer =
        |text: &str| place.load(text).map(|loaded| loaded.config.cameras[0].detectors[0].scorer.clone());
    assert_eq!(scorer(camera).ok(), Some(Scorer::Learned(Method::Diffusion)));
    for method in Method::in_place() {
        let text = format!("{camera}detector.scorer = \"{method}\"\n");
        assert_eq!(scorer(&text).ok(), Some(Scorer::Learned(method)));
    }
    let labelled = scorer(&format!("{camera}detector.scorer = \"rtfm\"\n")).expect_err("not in place");
    let message = labelled.to_string();
    assert!(
        message.contains("rtfm is learned from labelled clips") && message.contains("--from DIR"),
        "{message}"
    );
    let refused = scorer(&format!("{camera}detector.scorer = \"magic\"\n")).expect_err("no such method");
    let message = refused.to_string();
    assert!(Method::NAMES.iter().all(|name| message.contains(name)), "{message}");
}

#[test]
fn several_detectors_have_names_of_their_own_and_one_fusion() {
    let place = Place::new();
    let camera = |rest: &str| format!("{CAMERA}{rest}");
    let good = camera(
        "fusion = \"fisher\"\n[[camera.detector]]\nname = \"a\"\nk = 4\n[[camera.detector]]\nname = \"b\"\n",
    );
    let loaded = place.load(&good).expect("good").config;
    let seen: Vec<_> = loaded.cameras[0].detectors.iter().map(|d| (&*d.name, d.threshold.k)).collect();
    assert_eq!(seen, [("a", 4.0), ("b", 3.0)]);
    assert_eq!(loaded.cameras[0].fusion, Fusion::All(FusionRule::Fisher));
    assert_eq!(place.load(CAMERA).expect("good").config.cameras[0].detectors.len(), 1);
    for (rest, says) in [
        ("[[camera.detector]]\nname = \"a\"\n[[camera.detector]]\nk = 4\n", "missing beside other detectors"),
        ("[[camera.detector]]\nname = \"a\"\n[[camera.detector]]\nname = \"a\"\n", "of this name"),
        ("[[camera.detector]]\nname = \"a\"\nkay = 4\n", "camera.a.detector.a.kay"),
        ("[[camera.detector]]\nname = \"fused\"\n", "fused verdict"),
        ("detector = []\n", "no detector"),
        ("detector = 7\n", "a table is wanted"),
        ("fusion = \"average\"\n", "\"none\", \"min\", \"fisher\""),
    ] {
        let refused = place.load(&camera(rest)).expect_err(rest).to_string();
        assert!(refused.contains(says), "{rest}: {refused}");
    }
    let lonely = place.load(&camera("fusion = \"min\"\n")).expect("only a warning");
    assert!(
        lonely.warnings.iter().any(|w| w.to_string().contains("nothing to fuse")),
        "{:?}",
        lonely.warnings
    );
    assert_eq!(lonely.config.cameras[0].fusion, Fusion::None);
}
