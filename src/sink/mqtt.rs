//! MQTT: announcements that count as told once the broker has acknowledged them; states, scores and switches beside.
//!
//! `PREFIX/available` (`online`, last will `offline`), `PREFIX/events`, `PREFIX/CAMERA/state`, `.../score` and
//! `.../detect/state`, where commands at `.../detect/set` are taken;
//! what makes Home Assistant show them is published under a prefix of its own.

use super::{Deliver, Delivered, Parts, Then, discovery, message};
use crate::access::{self, Caller};
use crate::api::{Cameras, switch_detection};
use crate::base::{CameraName, Clock};
use crate::config::{Mqtt, Role};
use crate::store::{Letter, Store, Subject};
use rumqttc::{
    Client, Connection, Event, LastWill, MqttOptions, Outgoing, Packet, Publish, QoS, RecvTimeoutError,
    TlsConfiguration, Transport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Letters on their way at once.
const PAGE: usize = 64;
/// Requests that the client holds: a page, what is said at the start, and scores.
const REQUESTS: usize = 1024;
/// Bytes of a packet.
const LARGEST_PACKET: usize = 1 << 20;
/// Commands that wait while letters are delivered; more are lost, as at a broker that is full.
const COMMANDS: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Scores are told this often.
const SCORE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Broker {
    to: Mqtt,
    cameras: Arc<dyn Cameras>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// In whose name commands are carried out.
    caller: Caller,
    link: Option<Link>,
    /// When scores were last told.
    scored: Duration,
    /// What was last told of each camera's switch.
    switches: BTreeMap<CameraName, bool>,
    /// The cameras that are there for Home Assistant.
    shown: BTreeSet<CameraName>,
}

/// What commands do, as the table of rights has it.
const DETECT: (&str, &str) = ("POST", "/api/cameras/{name}/detect");

/// One connection. It is thrown away at the first failure: what was not acknowledged is sent again in its order.
struct Link {
    client: Client,
    connection: Connection,
    /// What has come in, and waits to be carried out: no more than [`COMMANDS`], the oldest.
    commands: Vec<Publish>,
}

impl Broker {
    /// `seen`: the cameras that the sink is told of; empty: all.
    pub(super) fn new(name: &str, to: &Mqtt, seen: &[CameraName], parts: &Parts) -> Self {
        let cameras = (!seen.is_empty()).then(|| seen.iter().cloned().collect());
        Self {
            to: to.clone(),
            cameras: parts.cameras.clone(),
            store: parts.store.clone(),
            clock: parts.clock.clone(),
            caller: Caller { name: Some(format!("sink {name}").into()), role: Role::Operator, cameras },
            link: None,
            scored: Duration::ZERO,
            switches: BTreeMap::new(),
            shown: BTreeSet::new(),
        }
    }

    fn topic(&self, below: &str) -> String {
        format!("{}/{below}", self.to.prefix)
    }

    fn connect(&mut self) -> Result<Link, String> {
        let mut options = MqttOptions::new(&self.to.client_id, &self.to.host, self.to.port);
        options.set_keep_alive(KEEP_ALIVE).set_clean_session(true).set_inflight(PAGE as u16);
        options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
        options.set_last_will(LastWill::new(self.topic("available"), "offline", QoS::AtLeastOnce, true));
        if let Some(user) = &self.to.user {
            let password = self.to.password.as_ref().map_or("", |password| &*password.0);
            options.set_credentials(&user.0, password);
        }
        if self.to.tls {
            let tls = TlsConfiguration::Rustls(Arc::new(tls_config(self.to.ca.as_deref())?));
            options.set_transport(Transport::tls_with_config(tls));
        }
        let (client, connection) = Client::new(options, REQUESTS);
        let mut link = Link { client, connection, commands: vec![] };
        link.until(self.to.timeout, |event| matches!(event, Event::Incoming(Packet::ConnAck(_))))?;
        link.publish(&self.topic("available"), true, QoS::AtMostOnce, "online".into())?;
        self.tell_cameras(&mut link, true)?;
        if self.to.commands {
            let topic = self.topic("+/detect/set");
            link.client.try_subscribe(topic, QoS::AtLeastOnce).map_err(|_| "the connection takes no more")?;
            self.switches.clear();
            self.tell_switches(&mut link)?;
        }
        Ok(link)
    }

    /// Which cameras there are, where that has changed or `all` are to be told: what is retained of one that has gone is
    /// taken back.
    fn tell_cameras(&mut self, link: &mut Link, all: bool) -> Result<(), String> {
        let Some(prefix) = &self.to.discovery else { return Ok(()) };
        let there: BTreeSet<CameraName> = self.cameras.list().into_iter().map(|camera| camera.name).collect();
        let of = |camera| discovery::of(prefix, &self.to.prefix, camera, self.to.commands);
        let gone = self.shown.difference(&there).flat_map(of).map(|(topic, _)| (topic, String::new()));
        let come = there.iter().filter(|camera| all || !self.shown.contains(*camera)).flat_map(of);
        for (topic, payload) in gone.chain(come) {
            link.publish(&topic, true, QoS::AtMostOnce, payload)?;
        }
        self.shown = there;
        Ok(())
    }

    /// How each camera's switch stands, where that has changed.
    fn tell_switches(&mut self, link: &mut Link) -> Result<(), String> {
        for camera in self.cameras.list().into_iter().filter(|camera| self.caller.sees(&camera.name)) {
            let on = camera.detect.on;
            if self.switches.get(&camera.name) != Some(&on) {
                let topic = self.topic(&format!("{}/detect/state", camera.name));
                link.publish(&topic, true, QoS::AtLeastOnce, if on { "ON" } else { "OFF" }.into())?;
                self.switches.insert(camera.name, on);
            }
        }
        Ok(())
    }

    /// Carries out the commands that have come meanwhile.
    fn obey(&mut self, link: &mut Link) -> Result<(), String> {
        for Publish { topic, payload, .. } in std::mem::take(&mut link.commands) {
            match self.command(&topic, &payload) {
                Ok(()) => tracing::info!("{}: {topic}", self.caller.name.as_deref().unwrap_or_default()),
                Err(why) => tracing::warn!("a command at {} is not carried out: {why}", topic.escape_debug()),
            }
        }
        if self.to.commands { self.tell_switches(link) } else { Ok(()) }
    }

    fn command(&self, topic: &str, payload: &[u8]) -> Result<(), String> {
        let below = topic.strip_prefix(&self.to.prefix).and_then(|rest| rest.strip_prefix('/'));
        let camera =
            below.and_then(|rest| rest.strip_suffix("/detect/set")).ok_or("not a topic for commands")?;
        let on = match payload {
            b"ON" => true,
            b"OFF" => false,
            _ => return Err("ON or OFF is wanted".into()),
        };
        let rule = access::rule(DETECT.0, DETECT.1).ok_or("nobody may do it")?;
        access::allows(rule, Some(&self.caller), Some(camera)).map_err(|_| "the sink has no such camera")?;
        switch_detection(&*self.cameras, &self.store, camera, on)
            .map_err(|error| error.to_string())?
            .then_some(())
            .ok_or_else(|| "no camera is named so".into())
    }

    /// Publishes letters, and waits until all are acknowledged; gives how many were, from the first.
    fn send(&self, link: &mut Link, letters: &[&Letter]) -> (usize, Result<(), String>) {
        let qos = match self.to.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        for letter in letters {
            let said = message(letter);
            let (topic, retain) = match letter.announcement.subject {
                Subject::CameraState => (self.topic(&format!("{}/state", letter.announcement.camera)), true),
                _ => (self.topic("events"), false),
            };
            if let Err(why) = link.publish(&topic, retain, qos, said.to_string()) {
                return (0, Err(why));
            }
        }
        // A broker acknowledges in order; what it has not acknowledged, and all after it, is sent again.
        let (mut done, deadline) = (0, Instant::now() + self.to.timeout);
        while done < letters.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            match link.next(left) {
                Ok(Some(event)) => {
                    done += usize::from(match event {
                        Event::Incoming(Packet::PubAck(_)) => qos == QoS::AtLeastOnce,
                        Event::Incoming(Packet::PubComp(_)) => qos == QoS::ExactlyOnce,
                        Event::Outgoing(Outgoing::Publish(_)) => qos == QoS::AtMostOnce,
                        _ => false,
                    });
                }
                Ok(None) => return (done, Err("the broker does not acknowledge in time".into())),
                Err(why) => return (done, Err(why)),
            }
        }
        (done, Ok(()))
    }

    /// Newest score of each camera: best effort, and never from the outbox.
    fn tell_scores(&self, link: &mut Link) -> Result<(), String> {
        for camera in self.cameras.list() {
            for detector in camera.detectors.iter().filter(|d| d.alerts) {
                let Some(score) = detector.last_score.filter(|score| score.is_finite()) else { continue };
                let said = serde_json::json!({
                    "detector": detector.name,
                    "score": score,
                    "threshold": detector.threshold.map(|t| t.limit()),
                    "probability": detector.probability.filter(|p| p.is_finite()),
                });
                let topic = self.topic(&format!("{}/score", camera.name));
                link.publish(&topic, false, QoS::AtMostOnce, said.to_string())?;
            }
        }
        Ok(())
    }

    /// Keeps the connection alive for `time`.
    fn idle(&mut self, link: &mut Link, time: Duration) -> Result<(), String> {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.scored) >= SCORE_EVERY {
            self.scored = now;
            self.tell_cameras(link, false)?;
            if self.to.scores {
                self.tell_scores(link)?;
            }
        }
        let deadline = Instant::now() + time;
        loop {
            self.obey(link)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || link.next(left)?.is_none() {
                return Ok(());
            }
        }
    }
}

impl Link {
    fn publish(&mut self, topic: &str, retain: bool, qos: QoS, payload: String) -> Result<(), String> {
        let queued = self.client.try_publish(topic, qos, retain, payload);
        queued.map_err(|_| "the connection takes no more".into())
    }

    /// What happens next; `None`: nothing within `time`.
    fn next(&mut self, time: Duration) -> Result<Option<Event>, String> {
        match self.connection.recv_timeout(time) {
            Ok(Ok(event)) => {
                if let Event::Incoming(Packet::Publish(said)) = &event
                    && self.commands.len() < COMMANDS
                {
                    self.commands.push(said.clone());
                }
                Ok(Some(event))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("the connection is closed".into()),
        }
    }

    /// Waits for an event.
    fn until(&mut self, time: Duration, wanted: impl Fn(&Event) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + time;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Some(event) if wanted(&event) => return Ok(()),
                Some(_) => {}
                None => return Err("the broker does not answer in time".into()),
            }
        }
    }
}

impl Deliver for Broker {
    fn page(&self) -> usize {
        PAGE
    }

    fn deliver(&mut self, letters: &[&Letter]) -> Delivered {
        let mut link = match self.link.take().map_or_else(|| self.connect(), Ok) {
            Ok(link) => link,
            Err(why) => return Delivered { taken: 0, then: Then::Later(why) },
        };
        match self.send(&mut link, letters) {
            (taken, Ok(())) => {
                self.link = Some(link);
                Delivered { taken, then: Then::Done }
            }
            (taken, Err(why)) => Delivered { taken, then: Then::Later(why) },
        }
    }

    fn rest(&mut self, time: Duration) -> bool {
        let Some(mut link) = self.link.take() else { return false };
        match self.idle(&mut link, time) {
            Ok(()) => {
                self.link = Some(link);
                true
            }
            Err(why) => {
                tracing::debug!("the broker is gone: {why}");
                false
            }
        }
    }

    /// Connects where nothing is to be delivered yet, so that the daemon is seen to be there.
    fn greet(&mut self) -> Result<(), String> {
        if self.link.is_none() {
            self.link = Some(self.connect()?);
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        // A broker tells the last will only of those that go without a word.
        let topic = self.topic("available");
        let said = link.publish(&topic, true, QoS::AtLeastOnce, "offline".into()).and_then(|()| {
            link.until(Duration::from_secs(1), |e| matches!(e, Event::Incoming(Packet::PubAck(_))))
        });
        if said.is_ok() && link.client.try_disconnect().is_ok() {
            let _ =
                link.until(Duration::from_secs(1), |e| matches!(e, Event::Outgoing(Outgoing::Disconnect)));
        }
    }
}

/// Trusts the usual authorities, or only these (DER).
fn tls_config(ca: Option<&[Vec<u8>]>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(certificates) => {
            for der in certificates {
                roots.add(der.clone().into()).map_err(|error| format!("ca_file: {error}"))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
