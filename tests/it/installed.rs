//! The Debian package on a machine of its own: systemd as its first process, in namespaces, over this system's files.

use crate::deb::{Package, run};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Starts systemd where it sees this system's files, and changes none of them. `$1` is an empty folder, `$2` one whose
/// files are put into `/root`.
const BOOT: &str = r#"
set -e
for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -f "$tree/cgroup.procs" ] && mkdir "$tree/sigmawatch-$$" && echo $$ >"$tree/sigmawatch-$$/cgroup.procs" || true
done 2>/dev/null
exec unshare --pid --fork --kill-child --mount --uts --ipc --net --cgroup bash -c '
set -e
root=$1/root
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/up" "$1/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$root"
cp "$2"/* "$root/root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/systemd"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
# What concerns this machine as a whole is left alone.
: >"$root/etc/fstab"
for unit in systemd-sysctl.service systemd-modules-load.service systemd-udevd.service systemd-udev-trigger.service \
    systemd-random-seed.service systemd-update-utmp.service dev-hugepages.mount dev-mqueue.mount \
    sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cd "$root"
mkdir oldroot
# Not chroot: whoever lives in one may make no user namespace, which the unit asks for.
pivot_root . oldroot
umount -l /oldroot
exec env -i container=sigmawatch PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=journal --show-status=0 --unit=basic.target
' boot "$@"
"#;

/// A machine that has booted; switched off when dropped.
struct Machine {
    unshare: Child,
    init: u32,
}

impl Machine {
    /// With these files in `/root`; or why it cannot be.
    fn boot(files: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can".into());
        }
        if !Path::new("/lib/systemd/systemd").exists() {
            return Err("there is no systemd (Debian package systemd)".into());
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut unshare = Command::new("bash")
            .args(["-c", BOOT, "boot"])
            .args([dir.path(), files])
            .stdin(Stdio::null())
            .stdout(log.reopen().expect("opened"))
            .stderr(log.reopen().expect("opened"))
            .spawn()
            .expect("bash starts");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) && unshare.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(200));
            let children = format!("/proc/{0}/task/{0}/children", unshare.id());
            let child = std::fs::read_to_string(children).unwrap_or_default();
            let Ok(init) = child.trim().parse() else { continue };
            let name = std::fs::read_to_string(format!("/proc/{init}/comm")).unwrap_or_default();
            if name.trim() == "systemd" && said(&on(init, "systemctl is-active basic.target")) == "active" {
                return Ok(Self { unshare, init });
            }
        }
        // Both fail only where it has ended.
        let _ = unshare.kill();
        let _ = unshare.wait();
        Err(std::fs::read_to_string(log.path()).expect("there").trim().to_owned())
    }

    /// A line of shell on it.
    fn tries(&self, line: &str) -> Output {
        on(self.init, line)
    }

    /// One that must succeed; what it said.
    fn does(&self, line: &str) -> String {
        let output = self.tries(line);
        assert!(output.status.success(), "{line}: {output:?}\n{}", self.journal());
        said(&output)
    }

    /// A property of the service.
    fn shows(&self, property: &str) -> String {
        self.does(&format!("systemctl show --value --property={property} sigmawatch"))
    }

    fn journal(&self) -> String {
        said(&self.tries("journalctl --no-pager --output=cat --unit=sigmawatch"))
    }

    fn until(&self, what: &str, seconds: u64, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed().as_secs() < seconds, "{what}:\n{}", self.journal());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// It watches, and says so to whoever asks.
    fn watches(&self) {
        self.until("it runs", 30, || self.shows("SubState") == "running");
        let ask = "exec 3<>/dev/tcp/127.0.0.1/8710; printf 'GET /readyz HTTP/1.0\\r\\nHost: 127.0.0.1:8710\\r\\n\\r\\n' >&3; \
                   cat <&3";
        self.until("it answers", 30, || said(&self.tries(ask)).contains("200 OK"));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let trees = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let name = format!("sigmawatch-{}", self.unshare.id());
        // All fail only where it has ended; with the first process go all, and their files with them.
        let _ = self.tries("systemctl stop sigmawatch");
        let _ = Command::new("kill").args(["-9", &self.init.to_string()]).status();
        let _ = self.unshare.wait();
        for tree in
            trees.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.contains("/cgroup"))
        {
            let tree = Path::new(tree).join(&name);
            if tree.exists() {
                let _ = Command::new("find")
                    .arg(tree)
                    .args("-depth -type d -exec rmdir {} +".split(' '))
                    .status();
            }
        }
    }
}

/// A line of shell on the machine whose first process this is.
fn on(init: u32, line: &str) -> Output {
    Command::new("nsenter")
        .args(["--all", "--target", &init.to_string()])
        .args([
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND=noninteractive",
            "LC_ALL=C",
        ])
        .args(["timeout", "100", "bash", "-c", line])
        .stdin(Stdio::null())
        .output()
        .expect("nsenter starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const CONFIG: &str = "/etc/sigmawatch/config.toml";

/// Installed: the service runs as its user, in its bounds, and feeds the watchdog.
fn starts(machine: &Machine) {
    machine.does("dpkg --install /root/1.deb");
    machine.watches();
    assert_eq!((machine.shows("UnitFileState"), machine.shows("NRestarts")), ("enabled".into(), "0".into()));
    let status = machine.does(&format!("cat /proc/{}/status", machine.shows("MainPID")));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned()
    };
    assert_eq!(field("Uid"), machine.does("id -u sigmawatch"));
    let bounds = ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp"].map(field);
    assert_eq!(bounds, ["0000000000000000", "0000000000000000", "1", "2"], "{status}");
    for (path, owner) in [
        ("/usr/bin/sigmawatch", "755 root:root"),
        (CONFIG, "640 root:sigmawatch"),
        ("/var/lib/private/sigmawatch", "700 sigmawatch:sigmawatch"),
    ] {
        assert_eq!(machine.does(&format!("stat --format='%a %U:%G' {path}")), owner, "{path}");
    }
    machine.does("test -s /var/lib/sigmawatch/sigmawatch.sqlite3");
    let fed = || machine.shows("WatchdogTimestampMonotonic");
    let before = fed();
    machine.until("the watchdog is fed", 15, || fed() != before);
}

/// A good configuration is taken over, a bad one is not, and is not tried again and again.
fn reloads(machine: &Machine) {
    let pid = machine.shows("MainPID");
    machine.does(&format!("echo '# read again' >>{CONFIG}; systemctl reload sigmawatch"));
    machine.until("it is read again", 20, || machine.journal().contains("the configuration was read again"));
    machine.does(&format!("echo '[bad' >>{CONFIG}; systemctl reload sigmawatch"));
    machine.until("it is refused", 20, || machine.journal().contains("the configuration is not taken over"));
    machine.watches();
    assert_eq!(machine.shows("MainPID"), pid);
    assert!(
        !machine.tries("systemctl restart sigmawatch").status.success(),
        "a bad configuration starts nothing"
    );
    std::thread::sleep(Duration::from_secs(5));
    let stands = ["ActiveState", "ExecMainStatus", "NRestarts"].map(|property| machine.shows(property));
    assert_eq!(stands, ["failed", "78", "0"], "{}", machine.journal());
    machine.does(&format!(
        "sed -i '$d' {CONFIG}; systemctl reset-failed sigmawatch; systemctl start sigmawatch"
    ));
    machine.watches();
}

/// Hung it is killed and started again; told to stop it does.
fn recovers(machine: &Machine) {
    let pid = machine.shows("MainPID");
    machine.does("systemctl kill --signal=STOP sigmawatch");
    machine.until("the watchdog bites", 60, || machine.shows("NRestarts") == "1");
    machine.until("it runs again", 30, || machine.shows("SubState") == "running");
    assert_ne!(machine.shows("MainPID"), pid);
    assert!(machine.journal().contains("Failed with result 'watchdog'"), "{}", machine.journal());
    let began = Instant::now();
    machine.does("systemctl stop sigmawatch");
    println!("stopped in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(
        (machine.shows("ActiveState"), machine.shows("Result")),
        ("inactive".into(), "success".into())
    );
    machine.does("systemctl start sigmawatch");
}

/// An update runs the new one with the old configuration; what is removed leaves data, what is purged leaves none.
fn goes(machine: &Machine) {
    let pid = machine.shows("MainPID");
    machine.does("dpkg --force-confdef --force-confold --install /root/2.deb");
    machine.watches();
    assert_ne!(machine.shows("MainPID"), pid);
    machine.does(&format!("grep -q 'read again' {CONFIG} && grep -q 'a newer one' {CONFIG}.dpkg-dist"));
    machine.does("dpkg --remove sigmawatch");
    let data = "/var/lib/private/sigmawatch/sigmawatch.sqlite3";
    machine.does(&format!("test ! -e /usr/bin/sigmawatch && test -e {CONFIG} && test -e {data}"));
    assert!(!machine.tries("pgrep --exact sigmawatch").status.success(), "nothing of it runs");
    machine.does("dpkg --purge sigmawatch");
    machine.does(
        "test ! -e /etc/sigmawatch && test ! -e /var/lib/private/sigmawatch && test ! -e /var/lib/sigmawatch",
    );
    machine.does("id sigmawatch");
}

#[test]
fn it_starts_when_installed_reloads_recovers_is_updated_and_goes_under_systemd_itself() {
    let package = Package::build();
    let files = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(&package.deb, files.path().join("1.deb")).expect("copied");
    let change = |name: &str, from: &str, to: &str| {
        let text = package.read(name);
        assert!(text.contains(from), "{text}");
        std::fs::write(package.path(name), text.replacen(from, to, 1)).expect("written");
    };
    change("DEBIAN/control", &format!("Version: {}", env!("CARGO_PKG_VERSION")), "Version: 99.0");
    change("etc/sigmawatch/config.toml", "", "# a newer one\n");
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .args([package.path(""), files.path().join("2.deb")]));
    let machine = match Machine::boot(files.path()) {
        Ok(machine) => machine,
        Err(why) => return eprintln!("skipped: no machine with a systemd of its own here: {why}"),
    };
    starts(&machine);
    reloads(&machine);
    recovers(&machine);
    goes(&machine);
}
