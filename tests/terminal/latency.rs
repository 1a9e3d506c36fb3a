//! How long a punch takes at the socket, beside one bare fsync on the same file system.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Driver, Terminal, second, server};

#[test]
fn a_few_punches_alone_and_together() {
    latency(50, 10);
}

#[test]
#[ignore = "slow: thousands of punches"]
fn thousands_of_punches_alone_and_together() {
    latency(2_000, 100);
}

/// The middle, and the last of a hundred.
fn figures(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[(times.len() * 99 / 100).min(times.len() - 1)])
}

/// Frames in the write-ahead log that end a transaction (the header's field at 4 is not 0).
fn commits(terminal: &Terminal) -> usize {
    let log = fs::read(terminal.path("punchd.db-wal")).unwrap();
    // Only the current round of the log counts: its salts stand in its header.
    let frames = log[32..].chunks_exact(24 + 1024).take_while(|frame| frame[8..16] == log[16..24]);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

/// One bare append and fsync of as many bytes as a punch has in the log.
fn floor(terminal: &Terminal, count: usize) -> (Duration, Duration) {
    let mut file = fs::File::create(terminal.path("floor")).unwrap();
    figures(
        (0..count)
            .map(|_| {
                let begun = Instant::now();
                file.write_all(&[7; 1048]).unwrap();
                file.sync_data().unwrap();
                begun.elapsed()
            })
            .collect(),
    )
}

fn latency(alone: u32, rounds: u32) {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    server.pause(); // The socket is measured, not the uploads.
    let mut driver = terminal.driver();
    let times = (0..alone).map(|nth| {
        let begun = Instant::now();
        driver.punch("1", &second(nth));
        begun.elapsed()
    });
    let (p50, p99) = figures(times.collect());

    // Sixty-four drivers' worth over four connections, sent at once, answered in any order.
    let mut drivers: Vec<Driver> = (0..4).map(|_| terminal.driver()).collect();
    let mut together = Vec::new();
    let (mut shared, mut last) = (0, commits(&terminal));
    for round in 0..rounds {
        let begun = Instant::now();
        for (nth, driver) in drivers.iter_mut().enumerate() {
            let lines: Vec<String> = (0..16)
                .map(|id| {
                    let params =
                        json!({"pin": "2", "time": second(round * 64 + nth as u32 * 16 + id)});
                    json!({"jsonrpc": "2.0", "id": id, "method": "punch", "params": params})
                        .to_string()
                })
                .collect();
            driver.send(lines.join("\n").as_bytes()).unwrap();
        }
        for driver in &mut drivers {
            for _ in 0..16 {
                assert!(driver.receive().unwrap()["result"]["seq"].as_i64() > Some(0));
                together.push(begun.elapsed());
            }
        }
        let now = commits(&terminal);
        // The log begins anew now and then.
        shared += now.checked_sub(last).unwrap_or(now);
        last = now;
    }
    let (many50, many99) = figures(together);
    let (floor50, floor99) = floor(&terminal, alone as usize);
    println!(
        "a punch alone: p50 {p50:.1?}, p99 {p99:.1?}; 64 at once: p50 {many50:.1?}, p99 {many99:.1?}, \
         {:.3} commits a punch; one bare fsync: p50 {floor50:.1?}, p99 {floor99:.1?}",
        shared as f64 / f64::from(rounds * 64)
    );
    // What arrives together shares commits.
    assert!(shared as u32 <= rounds * 32, "{shared} commits for {} punches", rounds * 64);
    assert_eq!(terminal.status()["punches"], alone + rounds * 64);
}
