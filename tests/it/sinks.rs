//! Sinks against real servers: a broker, a mail server's conversation, web servers that misbehave, a file.

use crate::desk::camera;
use crate::fixture::event;
use crate::sink_place::{OK, Pairs, Place, hook, ids, lines, wait_for, web, web_that_refuses_until};
use sigmawatch::alert::Change;
use sigmawatch::api::{Cameras, LearningState, LinkState, Sinks, announce_event};
use sigmawatch::config::load_with;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Set for the processes that tests start of themselves.
const CHILD: &str = "SIGMAWATCH_TEST_SINKS";

/// This program, to run one test with a folder.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture"]).env(CHILD, dir);
    command
}

#[test]
fn a_webhook_that_hangs_fails_talks_nonsense_or_drips_loses_nothing_and_delays_no_other() {
    let place = Place::new();
    let (url, seen) = web(|number, stream| {
        let _ = match number {
            0 => stream.write_all(b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            1 => stream.write_all(b"\x00\xffnonsense\r\n\r\n"),
            2 => (0..4).try_for_each(|_| {
                std::thread::sleep(Duration::from_millis(400));
                stream.write_all(b"H")
            }),
            3 => {
                std::thread::sleep(Duration::from_millis(1500));
                Ok(())
            }
            _ => stream.write_all(OK),
        };
    });
    let file = place.dir.join("log.jsonl");
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n";
    let posts = place.start(&format!("{}secret = \"key\"\n{log}", hook(&url, "")));
    let began = Instant::now();
    place.announce(0..3);
    wait_for("the file is written", || (lines(&file).len() == 3).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(2), "the other sink waited: {:?}", began.elapsed());
    wait_for("all delivered", || posts.list().ok().filter(|l| l[0].delivered == 3));
    let seen = seen.lock().expect("held");
    let bodies: Vec<serde_json::Value> =
        seen.iter().map(|(_, body)| serde_json::from_str(body).expect("JSON")).collect();
    let first_times: Vec<&str> =
        bodies[bodies.len() - 3..].iter().map(|b| b["id"].as_str().expect("id")).collect();
    assert_eq!(first_times, ids(0..3));
    assert_eq!(bodies[0]["delivery"], bodies[4]["delivery"], "another attempt is the same delivery");
    assert!(seen[0].0.to_ascii_lowercase().contains("x-sigmawatch-signature: v1="), "{}", seen[0].0);
    posts.stop();
}

#[test]
fn what_a_webhook_refuses_is_listed_and_can_be_tried_again() {
    let place = Place::new();
    let fixed = Arc::new(AtomicBool::new(false));
    let url = web_that_refuses_until(&fixed);
    let posts = place.start(&hook(&url, ""));
    place.announce(0..1);
    wait_for("given up", || posts.list().ok().filter(|list| list[0].dead_letters == 1));
    let status = &posts.list().expect("read")[0];
    let why = status.last_error.clone().expect("a reason");
    assert!(why.contains("404") && !why.contains("secret-path"), "{why}");
    assert_eq!(posts.dead("hook").expect("read").expect("a sink").len(), 1);
    fixed.store(true, Relaxed);
    assert_eq!(posts.retry("hook").expect("written"), Some(1));
    wait_for("delivered", || posts.list().ok().filter(|list| list[0].dead_letters == 0));
    assert_eq!(posts.dead("nosuch").expect("read"), None);
    posts.stop();
}

#[test]
fn metadata_addresses_and_redirections_are_not_followed() {
    let place = Place::new();
    let posts = place.start(&hook("http://169.254.169.254/latest", ""));
    place.announce(0..1);
    let why = wait_for("refused", || posts.list().ok().and_then(|list| list[0].last_error.clone()));
    assert!(why.contains("link-local"), "{why}");
    posts.stop();

    let place = Place::new();
    let (other, reached) = web(|_, stream| drop(stream.write_all(OK)));
    let (url, _) = web(move |_, stream| {
        let _ = stream.write_all(
            format!("HTTP/1.1 307 x\r\nLocation: {other}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        );
    });
    let posts = place.start(&hook(&url, ""));
    place.announce(0..1);
    wait_for("given up", || posts.list().ok().filter(|list| list[0].dead_letters == 1));
    assert!(reached.lock().expect("held").is_empty());
    posts.stop();
}

#[test]
fn a_file_goes_on_where_it_was_and_a_torn_line_is_delivered_again() {
    let place = Place::new();
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n";
    let file = place.dir.join("log.jsonl");
    place.announce(0..5);
    let posts = place.start(log);
    place.announce(5..8);
    wait_for("written", || (lines(&file).len() == 3).then_some(()));
    posts.stop();
    // As a crash in the middle of a line leaves it.
    let mut torn = std::fs::OpenOptions::new().append(true).open(&file).expect("opened");
    torn.write_all(b"{\"id\": \"hal").expect("written");
    place.announce(8..10);
    let posts = place.start(log);
    wait_for("written", || (lines_so_far(&file) == 5).then_some(()));
    let found: Vec<_> = lines(&file).iter().map(|line| line["id"].as_str().expect("id").to_owned()).collect();
    assert_eq!(found, ids(5..10), "a new sink begins at the present, and goes on where it was");
    wait_for("what all are done with is removed", || {
        posts.sweep().expect("swept");
        (place.store.count_after(0).expect("read") == 0).then_some(())
    });
    posts.stop();
}

#[test]
fn a_kill_between_an_announcement_and_its_delivery_loses_none() {
    const SELF: &str = "sinks::a_kill_between_an_announcement_and_its_delivery_loses_none";
    const KILLS: u64 = 20;
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n";
    if let Some(dir) = std::env::var_os(CHILD) {
        // Announces and delivers until it is killed; what it prints was on disk before.
        let place = Place::at(Path::new(&dir));
        let _posts = place.start(log);
        let first: u64 = std::env::var("FIRST").expect("given").parse().expect("a number");
        for n in first.. {
            place.announce(n..n + 1);
            println!("announced {n}");
        }
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut announced: Vec<u64> = vec![];
    for kill in 0..KILLS {
        let first = announced.last().map_or(0, |last| last + 10);
        let mut command = child(SELF, dir.path());
        let mut life =
            command.env("FIRST", first.to_string()).stdout(Stdio::piped()).spawn().expect("starts");
        let said = BufReader::new(life.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut numbers = said.filter_map::<u64, _>(|line| line.split("announced ").nth(1)?.parse().ok());
        announced.extend(numbers.by_ref().take(5 + kill as usize));
        life.kill().expect("killed");
        announced.extend(numbers);
        life.wait().expect("gone");
    }
    assert!(announced.len() as u64 >= 5 * KILLS, "{} alerts", announced.len());
    let place = Place::at(dir.path());
    let posts = place.start(log);
    wait_for("all told", || posts.list().ok().filter(|list| list[0].waiting == 0));
    posts.stop();
    let told: Vec<String> = (lines(&dir.path().join("log.jsonl")).iter())
        .map(|line| line["id"].as_str().expect("an id").to_owned())
        .collect();
    let lost = announced.iter().filter(|n| !told.contains(&event(**n).id)).count();
    println!("{KILLS} kills, {} announced, {lost} lost, {} lines", announced.len(), told.len());
    assert_eq!(lost, 0);
}

fn lines_so_far(file: &Path) -> usize {
    std::fs::read(file).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

/// A mosquitto of the test's own.
struct Mosquitto {
    child: Child,
    port: u16,
    config: PathBuf,
}

impl Mosquitto {
    fn start(dir: &Path, port: Option<u16>) -> Self {
        let port = port.unwrap_or_else(|| {
            TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
        });
        let config = dir.join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
        std::fs::write(&config, text).expect("written");
        let child = Command::new("mosquitto")
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed (scripts/setup test)");
        wait_for("mosquitto listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port, config }
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    fn again(&mut self) {
        let dir = self.config.parent().expect("a folder").to_owned();
        *self = Self::start(&dir, Some(self.port));
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every message under `#`, with its topic; and whether the broker has taken the subscription.
fn listen(port: u16) -> (Pairs, Arc<AtomicBool>) {
    let subscribed = Arc::new(AtomicBool::new(false));
    let acknowledged = subscribed.clone();
    let seen = Arc::new(Mutex::new(vec![]));
    let kept = seen.clone();
    let mut options = rumqttc::MqttOptions::new(format!("listener-{port}"), "127.0.0.1", port);
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut connection) = rumqttc::Client::new(options, 16);
    client.subscribe("#", rumqttc::QoS::AtLeastOnce).expect("subscribed");
    std::thread::spawn(move || {
        let _client = client;
        for event in connection.iter() {
            match event {
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::Publish(said))) => {
                    let payload = String::from_utf8_lossy(&said.payload).into_owned();
                    kept.lock().expect("held").push((said.topic, payload));
                }
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_))) => acknowledged.store(true, Relaxed),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    (seen, subscribed)
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

#[test]
fn a_broker_that_is_down_for_an_hour_of_alerts_gets_them_all_in_order() {
    const ALERTS: u64 = 3600;
    // In a process of its own: tests beside it take memory, too.
    const SELF: &str = "sinks::a_broker_that_is_down_for_an_hour_of_alerts_gets_them_all_in_order";
    if std::env::var_os(CHILD).is_none() {
        let output = child(SELF, Path::new("")).output().expect("starts");
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{}", said.lines().filter(|line| line.contains("drained")).collect::<String>());
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let place = Place::new();
    let mut broker = Mosquitto::start(&place.dir, None);
    let sink = format!(
        "[[sink]]\nname = \"house\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntimeout = \"5s\"\n",
        broker.port
    );
    let posts = place.start(&sink);
    place.announce(0..1);
    wait_for("the first is told", || posts.list().ok().filter(|list| list[0].delivered == 1));
    broker.kill();
    let before = resident_bytes();
    place.announce(1..ALERTS + 1);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more while the broker is away");
    broker.again();
    let (seen, subscribed) = listen(broker.port);
    wait_for("the listener is there", || subscribed.load(Relaxed).then_some(()));
    // Nearly always: the sink has long been away, and looks again after seconds.
    let listener_was_first = posts.list().expect("read")[0].delivered == 1;
    wait_for("the sink is back", || posts.list().ok().filter(|list| list[0].delivered > 1));
    let began = Instant::now();
    let left = ALERTS + 1 - posts.list().expect("read")[0].delivered;
    wait_for("all told", || posts.list().ok().filter(|list| list[0].delivered == ALERTS + 1));
    let rate = left as f64 / began.elapsed().as_secs_f64().max(0.001);
    println!("drained {rate:.0} alerts a second; {grown} bytes of memory more");
    let told = |seen: &Vec<(String, String)>| -> Vec<String> {
        let events = seen.iter().filter(|(topic, _)| topic == "sigmawatch/events");
        let id = |(_, body): &(String, String)| {
            serde_json::from_str::<serde_json::Value>(body).expect("JSON")["id"].as_str().map(str::to_owned)
        };
        events.filter_map(id).collect()
    };
    let last = event(ALERTS).id;
    wait_for("heard", || told(&seen.lock().expect("held")).contains(&last).then_some(()));
    let told = told(&seen.lock().expect("held"));
    let unique: BTreeSet<&String> = told.iter().collect();
    let missing = ids(1..ALERTS + 1).iter().filter(|id| !unique.contains(id)).count();
    assert!(told.windows(2).all(|pair| pair[0] <= pair[1]), "out of order");
    assert!(missing == 0 || !listener_was_first, "{missing} lost");
    assert!(rate >= 500.0, "{rate:.0} a second");
    posts.stop();
    wait_for("offline is said", || {
        let seen = seen.lock().expect("held");
        seen.iter()
            .rev()
            .find(|(topic, _)| topic == "sigmawatch/available")
            .filter(|(_, said)| said == "offline")
            .map(drop)
    });
}

/// By what is published at the broker, and told there; of the sink's own cameras only, and only by words that mean it.
#[test]
fn cameras_are_switched_by_mqtt_where_that_is_asked_for() {
    let place = Place::new();
    let broker = Mosquitto::start(&place.dir, None);
    let (seen, subscribed) = listen(broker.port);
    wait_for("the listener is there", || subscribed.load(Relaxed).then_some(()));
    let sink = format!(
        "[[sink]]\nname = \"house\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ncommands = true\n\
         cameras = [\"gate\"]\n",
        broker.port
    );
    let both = ["gate", "yard"].map(|name| camera(name, LinkState::Live, LearningState::Armed));
    let (posts, cameras) = place.start_with(&sink, both.to_vec());
    let heard = |topic: &str, said: &str| {
        let seen = seen.lock().expect("held");
        seen.iter().rfind(|(t, _)| t == topic).is_some_and(|(_, s)| s == said).then_some(())
    };
    wait_for("its state is told", || heard("sigmawatch/gate/detect/state", "ON"));
    wait_for("a switch is shown", || {
        let seen = seen.lock().expect("held");
        seen.iter().any(|(topic, _)| topic.starts_with("homeassistant/switch/")).then_some(())
    });
    let options = rumqttc::MqttOptions::new("switch", "127.0.0.1", broker.port);
    let (client, mut line) = rumqttc::Client::new(options, 16);
    std::thread::spawn(move || line.iter().take_while(Result::is_ok).for_each(drop));
    let publish = |camera: &str, said: &str| {
        let topic = format!("sigmawatch/{camera}/detect/set");
        client.publish(topic, rumqttc::QoS::AtLeastOnce, false, said).expect("published");
    };
    // In their order: the first two have been looked at when the last is obeyed.
    publish("gate", "off, please");
    publish("yard", "OFF");
    publish("gate", "OFF");
    wait_for("it is off", || heard("sigmawatch/gate/detect/state", "OFF"));
    assert_eq!(place.store.detect("gate").expect("read"), Some(false));
    assert_eq!(place.store.detect("yard").expect("read"), None);
    assert!(cameras.get("yard").expect("there").detect.on && !cameras.get("gate").expect("there").detect.on);
    publish("gate", "ON");
    wait_for("it is on again", || heard("sigmawatch/gate/detect/state", "ON"));
    assert!(heard("sigmawatch/yard/detect/state", "ON").is_none(), "not one of the sink's cameras");
    posts.stop();
}

/// A mail server that takes everything; gives what it was told.
fn smtp() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let mails = Arc::new(Mutex::new(vec![]));
    let kept = mails.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
            let _ = stream.write_all(b"220 test ESMTP\r\n");
            while let Some(Ok(line)) = lines.next() {
                let answer: &[u8] = match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => b"250-test\r\n250 8BITMIME\r\n",
                    "DATA" => {
                        let _ = stream.write_all(b"354 go on\r\n");
                        let mail: Vec<String> =
                            lines.by_ref().map_while(Result::ok).take_while(|l| l != ".").collect();
                        kept.lock().expect("held").push(mail.join("\n"));
                        b"250 taken\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 ok\r\n",
                };
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
        }
    });
    (port, mails)
}

#[test]
fn a_flood_of_alerts_is_one_mail() {
    let place = Place::new();
    let (port, mails) = smtp();
    let posts = place.start(&format!(
        "[[sink]]\nname = \"guard\"\nkind = \"email\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\n\
         from = \"sigmawatch@example.org\"\nto = [\"guard@example.org\"]\nat_most_every = \"1h\"\n"
    ));
    place.store.put_snapshot(&event(0).id, b"\xff\xd8jpeg", b"\xff\xd8").expect("written");
    place.announce(0..200);
    wait_for("mailed", || posts.list().ok().filter(|list| list[0].delivered == 200));
    let mails = mails.lock().expect("held");
    assert_eq!(mails.len(), 1);
    // A long header goes on in the next line.
    assert!(mails[0].replace("\n ", " ").contains("and 199 more"), "{}", mails[0]);
    assert!(mails[0].contains("image/jpeg") && mails[0].contains("and 150 more"), "{}", mails[0]);
    posts.stop();
}

#[test]
fn mistakes_in_sinks_are_explained_and_no_secret_is_shown() {
    let place = Place::new();
    let config = |text: &str| {
        place.sinks("");
        let path = place.dir.join("bad.toml");
        let whole =
            format!("[[camera]]\nname = \"gate\"\nsource = \"synthetic\"\n[[sink]]\nname = \"s\"\n{text}");
        std::fs::write(&path, whole).expect("written");
        load_with(&path, &|_| None)
    };
    for (text, part) in [
        ("kind = \"pigeon\"", "\"webhook\", \"mqtt\""),
        ("kind = \"webhook\"", "add url ="),
        ("kind = \"webhook\"\nurl = \"ftp://a/b\"", "not an HTTP address"),
        ("kind = \"webhook\"\nurl = \"https://u:p@a/b\"", "credentials inside the URL"),
        ("kind = \"webhook\"\nurl = \"http://a/b\"\ntemplate = \"{{ scoer }}\"", "undefined"),
        ("kind = \"webhook\"\nurl = \"http://a/b\"\ntemplate = \"{{ text }}\"", "makes no JSON"),
        ("kind = \"mqtt\"\nurl = \"http://a\"", "not the address of a broker"),
        ("kind = \"mqtt\"\nurl = \"mqtt://a\"\nprefix = \"a/#\"", "no topic can begin so"),
        ("kind = \"jsonl\"\npath = \"no/such/file\"", "its folder does not exist"),
        ("kind = \"jsonl\"\npath = \"f\"\ncameras = [\"yard\"]", "there is no camera `yard`"),
        ("kind = \"email\"\nserver = \"a\"\nfrom = \"nobody\"\nto = [\"a@b.c\"]", "not an e-mail address"),
    ] {
        let said = config(text).expect_err(text).to_string();
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    let good = config(
        "kind = \"webhook\"\nurl = \"https://hooks.example/T0K3N\"\nsecret = \"s3cr3t\"\ntoken = \"b34r3r\"",
    );
    let good = good.expect("good").config;
    for shown in [good.redacted().to_string(), format!("{good:?}")] {
        assert!(shown.contains("hooks.example"), "{shown}");
        for secret in ["T0K3N", "s3cr3t", "b34r3r"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn templates_are_tried_with_what_is_really_said() {
    let said = announce_event(Change::New, &event(0)).expect("not quiet");
    let real: serde_json::Value = serde_json::from_str(&said.body).expect("JSON");
    let keys = |value: &serde_json::Value| {
        value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>()
    };
    let mut sample = keys(&sigmawatch::config::sample_alert());
    for of_the_letter in ["delivery", "topic", "time"] {
        assert!(sample.remove(of_the_letter));
    }
    assert_eq!(sample, keys(&real));
}
