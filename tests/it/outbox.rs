//! The outbox and its ends: files that are moved on, sinks that are given up or left behind.

use crate::fixture::event;
use crate::sink_place::{OK, Place, hook, ids, lines, wait_for, web};
use sigmawatch::api::Sinks;
use sigmawatch::base::{SimClock, Timestamp};
use sigmawatch::store::Store;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

fn told(file: &Path) -> Vec<String> {
    lines(file).iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_file_that_is_large_is_moved_on_and_only_so_many_are_kept() {
    let place = Place::new();
    let log =
        "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\nmax_size = 1\nkeep_files = 1\n";
    let posts = place.start(log);
    let file = |n: usize| match n {
        0 => place.dir.join("log.jsonl"),
        n => place.dir.join(format!("log.jsonl.{n}")),
    };
    // Page by page, so that a file is not overfull by one page alone.
    const PAGE: u64 = 100;
    for page in 0..30 {
        place.announce(PAGE * page..PAGE * (page + 1));
        let newest = ids(PAGE * (page + 1) - 1..PAGE * (page + 1)).remove(0);
        wait_for("written", || (told(&file(0)).last() == Some(&newest)).then_some(()));
    }
    posts.stop();
    assert!(!file(2).exists(), "one is kept beside the one that is written");
    for n in 0..2 {
        let bytes = std::fs::metadata(file(n)).expect("it is there").len();
        assert!(bytes <= 1 << 20, "{n}: {bytes} bytes");
    }
    let found: Vec<String> = [1, 0].into_iter().flat_map(|n| told(&file(n))).collect();
    assert!(found.len() < 3000, "the oldest are gone");
    assert_eq!(found, ids(3000 - found.len() as u64..3000), "none is missing in what is kept");
}

/// The letter was written an hour ago: by a clock that stands there.
#[test]
fn what_cannot_be_delivered_for_too_long_is_a_dead_letter_and_the_next_ones_go_on() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let hour_ago = Timestamp::now().checked_sub(Duration::from_secs(3600)).expect("in range");
    let place = Place::of(dir.path(), Arc::new(SimClock::new(hour_ago)));
    let well = Arc::new(AtomicBool::new(false));
    let mended = well.clone();
    let (url, _) = web(move |_, stream| {
        let busy: &[u8] = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(if mended.load(Relaxed) { OK } else { busy });
    });
    let posts = place.start(&hook(&url, "give_up_after = \"30m\"\n"));
    place.announce(0..1);
    let status = wait_for("given up", || posts.list().ok()?.pop().filter(|sink| sink.dead_letters == 1));
    assert!(status.last_error.is_some_and(|why| why.contains("503")));
    well.store(true, Relaxed);
    place.announce(1..3);
    let status = wait_for("delivered", || posts.list().ok()?.pop().filter(|sink| sink.delivered == 2));
    assert_eq!((status.waiting, status.dead_letters), (0, 1), "the dead one is kept to be seen");
    let dead = posts.dead("hook").expect("read").expect("a sink");
    assert!(dead[0].letter.announcement.body.contains(&event(0).id), "{dead:?}");
    posts.stop();
}

#[test]
fn a_sink_that_is_too_far_behind_loses_the_oldest_and_that_is_known() {
    let place = Place::new();
    let store: &Store = &place.store;
    store.set_sinks(&["slow".into(), "quick".into()]).expect("written");
    place.announce(0..10);
    let page = store.letters_after(0, 100).expect("read");
    store.pass("quick", page[8].seq).expect("written");
    let all = Duration::from_secs(86_400);
    assert!(store.sweep_outbox(10, all).expect("swept").is_empty(), "ten are not too many");
    assert_eq!(store.count_after(0).expect("read"), 10, "one sink is not done with any");
    let lost = store.sweep_outbox(4, all).expect("swept");
    let of = |name: &str| lost.iter().find(|(sink, _)| sink == name).map(|(_, letters)| letters.len());
    assert_eq!((of("slow"), of("quick")), (Some(6), None), "six are one sink's loss, and not the other's");
    assert_eq!(store.count_after(0).expect("read"), 4);
    let next = store.letters_after(store.passed("slow").expect("read"), 1).expect("read");
    assert_eq!(next[0].seq, page[6].seq, "it goes on with what is left");
    // What is too old goes as well.
    let lost = store.sweep_outbox(100, Duration::ZERO).expect("swept");
    assert_eq!(lost.iter().map(|(_, letters)| letters.len()).sum::<usize>(), 4 + 1);
}
