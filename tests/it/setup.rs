//! `scripts/setup` on machines that lack something: what it would install, and what it says.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// A machine whose only programs are the ones given to it.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// With the usual small tools, a new enough cargo and Node.js; no apt, no compiler, no Python, no root.
    fn bare() -> Self {
        let machine = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        for dir in ["bin", "scripts"] {
            std::fs::create_dir(machine.dir.path().join(dir)).expect("a folder");
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup");
        std::fs::copy(script, machine.dir.path().join("scripts/setup")).expect("scripts/setup");
        let tools =
            "bash cat chmod cut dirname env grep head ln ls mkdir mktemp mv rm sed sh sha256sum sort touch";
        for tool in tools.split(' ') {
            let found =
                ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(tool)).find(|path| path.exists());
            symlink(found.expect(tool), machine.dir.path().join("bin").join(tool)).expect("a link");
        }
        machine
            .with("cargo", "echo 'cargo 1.97.0 (abc 2026-10-01)'")
            .with("node", "echo v18.20.4")
            .with("npm", "")
            .with("id", "echo 1000")
            .with("uname", "echo x86_64")
    }

    /// Adds a program.
    fn with(self, name: &str, script: &str) -> Self {
        let path = self.dir.path().join("bin").join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
        self
    }

    /// With an apt-get that writes down what it is asked, and nothing installed.
    fn debian(self) -> Self {
        self.with("dpkg-query", "exit 1").with("apt-get", "echo \"$*\" >>apt.log")
    }

    /// With a Python that brings nothing, and says so.
    fn with_python(self) -> Self {
        self.with("python3", "echo \"$*\" >>python.log; echo 'no route' >&2; exit 1")
    }

    fn setup(&self, what: &str) -> Output {
        let bin = self.dir.path().join("bin");
        Command::new(bin.join("bash"))
            .arg(self.dir.path().join("scripts/setup"))
            .arg(what)
            .env_clear()
            .env("PATH", &bin)
            .env("HOME", self.dir.path())
            .output()
            .expect("bash")
    }

    /// What a program has written down, if anything.
    fn read(&self, log: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(log)).unwrap_or_default()
    }
}

/// Asserts that set-up gave up, and that standard error holds every one of `parts`.
fn assert_gave_up(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
}

#[test]
fn without_apt_it_names_what_to_install_by_hand() {
    let output = Machine::bare().setup("run");
    assert_gave_up(&output, &["no apt-get", "a C compiler", "Python 3", "pkg-config", "GStreamer 1.22"]);
}

#[test]
fn without_apt_what_is_there_is_used() {
    let machine = Machine::bare().with("cc", "").with("pkg-config", "").with_python();
    // It gets as far as the library.
    assert_gave_up(&machine.setup("run"), &["ONNX Runtime 1.31.1 cannot be fetched"]);
    let machine = Machine::bare()
        .with("cc", "")
        .with("python3", "")
        .with("pkg-config", "[ \"$2\" != gstreamer-rtsp-server-1.0 ]");
    assert_gave_up(&machine.setup("test"), &["no apt-get", "gstreamer-rtsp-server-1.0"]);
}

#[test]
fn without_root_or_sudo_it_says_what_root_would_run() {
    let machine = Machine::bare().debian();
    assert_gave_up(
        &machine.setup("run"),
        &["neither root nor is there sudo", "apt-get install --no-install-recommends", "libgstreamer1.0-dev"],
    );
    assert_eq!(machine.read("apt.log"), "");
}

#[test]
fn sudo_is_used_where_there_is_one_and_tests_need_more() {
    for (what, extra) in [("run", false), ("test", true)] {
        let machine = Machine::bare().debian().with("sudo", "exec \"$@\"").with_python();
        assert_gave_up(&machine.setup(what), &["ONNX Runtime 1.31.1 cannot be fetched"]);
        let log = machine.read("apt.log");
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() == 2 && lines[0].ends_with(" update"), "{log}");
        assert!(lines[1].contains("install -y --no-install-recommends "), "{log}");
        assert!(lines[1].contains("gstreamer1.0-libav"), "{log}");
        assert_eq!(lines[1].contains("libgstrtspserver-1.0-dev"), extra, "{log}");
    }
}

#[test]
fn only_what_is_missing_is_installed() {
    let installed = "for p in \"${@:3}\"; do [ $p = pkg-config ] || echo \"$p installed\"; done";
    let machine = Machine::bare().debian().with("id", "echo 0").with("dpkg-query", installed).with_python();
    machine.setup("run");
    let log = machine.read("apt.log");
    assert!(log.ends_with("--no-install-recommends pkg-config\n"), "{log}");
}

#[test]
fn a_wheel_that_cannot_be_fetched_leaves_nothing_behind() {
    let machine = Machine::bare().debian().with("id", "echo 0").with_python();
    assert_gave_up(
        &machine.setup("run"),
        &["no route", "ONNX Runtime 1.31.1 cannot be fetched", "a network?"],
    );
    let asked = machine.read("python.log");
    let wheel = "scripts/fetch-pypi.py onnxruntime onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl 5752bd508126";
    assert!(asked.contains(wheel), "{asked}");
    let left: Vec<_> =
        std::fs::read_dir(machine.dir.path().join("runtime")).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn weights_for_the_tests_that_cannot_be_fetched_are_no_secret() {
    let machine = Machine::bare().debian().with("id", "echo 0").with("apt-get", "");
    let machine = machine.with_python();
    let runtime = machine.dir.path().join("runtime");
    std::fs::create_dir(&runtime).expect("a folder");
    let script = machine.read("scripts/setup");
    let pinned =
        |name: &str| script.split(&format!("\n{name}=")).nth(1).and_then(|s| s.lines().next()).expect(name);
    std::fs::write(runtime.join(format!("libonnxruntime.so.{}", pinned("ort_version"))), "")
        .expect("written");
    std::fs::write(runtime.join("wheel.sha256"), pinned("ort_sha256_x86_64")).expect("written");
    let (wheel, numpy) = (pinned("ort_sha256_x86_64"), pinned("numpy_sha256_x86_64"));
    std::fs::create_dir(runtime.join("python")).expect("a folder");
    std::fs::write(runtime.join("python/wheels.sha256"), format!("{wheel} {numpy}")).expect("written");
    let lints = "[ $1 = --version ] && echo 'cargo 1.97.0 (abc)' || exit 0";
    let machine = machine.with("cargo", lints);
    assert!(machine.setup("run").status.success());
    let parts = ["no route", "I3D's weights cannot be fetched", "by hand, into runtime/"];
    assert_gave_up(&machine.setup("test"), &parts);
    // The hash is the program's own.
    let source = include_str!("../../src/features/i3d/source.rs");
    assert!(
        source.contains(pinned("i3d_sha256")) && machine.read("python.log").contains(pinned("i3d_sha256"))
    );
    let left: Vec<_> = std::fs::read_dir(runtime).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn node_is_looked_for_by_its_command_and_must_be_new_enough() {
    let machine = || Machine::bare().debian().with("id", "echo 0").with_python();
    let without = machine();
    for command in ["node", "npm"] {
        std::fs::remove_file(without.dir.path().join("bin").join(command)).expect("it was there");
    }
    assert_gave_up(&without.setup("run"), &["Node.js 18 or later with npm", "here is none"]);
    assert!(without.read("apt.log").ends_with(" nodejs npm\n"), "{}", without.read("apt.log"));
    // Whatever package it came from.
    let other = machine().with("node", "echo v20.1.0");
    assert_gave_up(&other.setup("run"), &["ONNX Runtime 1.31.1 cannot be fetched"]);
    assert!(!other.read("apt.log").contains("nodejs"), "{}", other.read("apt.log"));
    let old = machine().with("node", "echo v16.20.2");
    assert_gave_up(&old.setup("run"), &["Node.js 18 or later with npm", "here is v16.20.2"]);
    let by_hand = Machine::bare().with("node", "echo v16.20.2");
    for what in ["run", "web"] {
        assert_gave_up(&by_hand.setup(what), &["no apt-get", "Node.js 18 or later"]);
    }
    // The page alone needs nothing else.
    assert!(Machine::bare().with("cargo", "exit 127").setup("web").status.success());
    let page = machine().with("cargo", "exit 127");
    assert!(page.setup("web").status.success());
    assert_eq!(page.read("apt.log"), "");
}

/// A cargo script of this version.
fn cargo(version: &str) -> String {
    format!("echo 'cargo {version} (abc 2026-10-01)'")
}

/// An installer that writes down what it is asked and brings a cargo, as Rust's own does.
const INSTALLER: &str = "cat <<'END'\n\
    echo \"$*\" >installer.log\n\
    mkdir -p .cargo/bin\n\
    printf '#!/usr/bin/env bash\\necho \"cargo 1.95.0 (abc)\"\\n' >.cargo/bin/cargo\n\
    chmod +x .cargo/bin/cargo\n\
    END";

#[test]
fn a_missing_rust_is_fetched_from_its_own_project() {
    // Debian's own cargo is too old, and what the installer brings goes before it.
    for old in ["exit 127", &cargo("1.63.0")] {
        let machine = Machine::bare().debian().with("id", "echo 0").with("cargo", old).with_python();
        let machine = machine.with("curl", &format!("echo \"$*\" >curl.log\n{INSTALLER}"));
        assert_gave_up(&machine.setup("run"), &["ONNX Runtime 1.31.1 cannot be fetched"]);
        assert!(machine.read("curl.log").contains("--proto =https"), "{}", machine.read("curl.log"));
        assert!(machine.read("curl.log").ends_with("https://sh.rustup.rs\n"));
        let asked = machine.read("installer.log");
        assert!(asked.starts_with("-y --no-modify-path --profile minimal"), "{asked}");
        assert!(asked.ends_with("--default-toolchain 1.95.0\n"), "{asked}");
        assert!(!machine.read("apt.log").contains("curl"));
    }
}

#[test]
fn a_rust_that_cannot_be_fetched_is_explained() {
    let bare = || Machine::bare().debian().with("id", "echo 0").with("cargo", "exit 127");
    let output = bare().with("curl", "echo 'curl: (6) no such host' >&2; exit 6").setup("run");
    let parts = ["no such host", "Rust 1.95 or later is needed", "cannot be fetched", "by hand"];
    assert_gave_up(&output, &parts);
    let machine = bare().with("curl", "echo 'exit 3'");
    assert_gave_up(&machine.setup("run"), &["its installer failed"]);
    // Where curl is missing too, apt brings it.
    let machine = bare();
    machine.setup("run");
    assert!(machine.read("apt.log").ends_with(" curl\n"), "{}", machine.read("apt.log"));
}

#[test]
fn an_old_rust_of_rustup_is_left_alone_and_the_pinned_one_put_beside_it() {
    let rustup = "echo \"$*\" >>rustup.log\n\
        case $1 in run) exit 1 ;; override) touch overridden ;; esac";
    let switching = "[ -e overridden ] && echo 'cargo 1.95.0 (abc)' || echo 'cargo 1.80.0 (abc)'";
    let machine = Machine::bare().debian().with("id", "echo 0").with_python();
    let machine = machine.with("cargo", switching).with("rustup", rustup);
    assert_gave_up(&machine.setup("run"), &["ONNX Runtime 1.31.1 cannot be fetched"]);
    let log = machine.read("rustup.log");
    assert!(log.contains("toolchain install 1.95.0 --profile minimal --component clippy,rustfmt"), "{log}");
    assert!(log.ends_with("override set 1.95.0\n"), "{log}");
    // A cargo that hides rustup's is named.
    let machine = Machine::bare().debian().with("id", "echo 0").with("rustup", "");
    let machine = machine.with("cargo", &cargo("1.80.0"));
    assert_gave_up(&machine.setup("run"), &["cargo here is still 1.80", "RUSTUP_TOOLCHAIN"]);
}

#[test]
fn a_rust_that_is_new_enough_is_used_as_it_is_and_tests_need_its_lints() {
    let no_lints = "[ $1 = --version ] && echo 'cargo 1.97.0 (abc)'";
    let machine = || Machine::bare().debian().with("id", "echo 0").with("cargo", no_lints).with_python();
    let rustup = "echo \"$*\" >>rustup.log";
    let without = machine().with("rustup", rustup);
    assert_gave_up(&without.setup("run"), &["ONNX Runtime 1.31.1 cannot be fetched"]);
    assert_eq!(without.read("rustup.log"), "");
    assert_gave_up(&without.setup("test"), &["ONNX Runtime 1.31.1 cannot be fetched"]);
    assert_eq!(without.read("rustup.log"), "component add rustfmt clippy\n");
    assert_gave_up(&machine().setup("test"), &["`cargo fmt` or `cargo clippy` is missing"]);
}

#[test]
fn the_pinned_rust_is_what_the_crate_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(root.join("scripts/setup")).expect("scripts/setup");
    let needed = env!("CARGO_PKG_RUST_VERSION");
    assert!(script.contains(&format!("\nrust_needed={needed}\n")), "{needed}");
    assert!(script.contains(&format!("\nrust_pinned={needed}")), "{needed}");
}

#[test]
fn make_hands_the_name_of_a_configuration_on_as_it_is() {
    for name in ["mine.toml", "my camera's \"gate\" & $HOME `id`.toml"] {
        let output = Command::new("make")
            .args(["--dry-run", "--no-print-directory", "run", &format!("CONFIG={name}")])
            .env_remove("MAKEFLAGS")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("make");
        let said = String::from_utf8_lossy(&output.stdout);
        let last =
            said.lines().last().expect("a command").replace("target/release/sigmawatch", "printf '%s\\n'");
        let words = Command::new("bash").args(["-c", &last]).output().expect("bash").stdout;
        assert_eq!(String::from_utf8_lossy(&words), format!("run\n--config\n{name}\n"), "{said}");
    }
}

#[test]
fn a_machine_without_a_wheel_is_told_what_to_do() {
    let machine = Machine::bare().debian().with("id", "echo 0").with("uname", "echo riscv64");
    assert_gave_up(&machine.setup("run"), &["no ONNX Runtime wheel for riscv64", "onnxruntime = "]);
}
