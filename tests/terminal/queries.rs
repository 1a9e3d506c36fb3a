//! `DATA QUERY` (§12.4) of every table that servers in use ask for, against a raw server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::{RawServer, Terminal, base64, jpeg, options, replies_to, says, second, until};

/// A terminal with two people and all that hangs on them, and a server that then asks `queries`, one
/// a poll. Returns, for each query, its code and the rows that came for it.
fn asked(version: &'static str, queries: &'static [&'static str]) -> Vec<(String, Vec<String>)> {
    let picture = base64(jpeg(300));
    let size = picture.len();
    let mut lists = vec![];
    for pin in ["7", "8"] {
        lists.push(format!(
            "C:u{pin}:DATA UPDATE USERINFO PIN={pin}\tName=N{pin}\n\
             C:f{pin}:DATA UPDATE FINGERTMP PIN={pin}\tFID=3\tSize=4\tValid=1\tTMP=QUJD\n\
             C:a{pin}:DATA UPDATE FACE PIN={pin}\tFID=0\tSize=4\tValid=1\tTMP=QUJD\n\
             C:v{pin}:DATA UPDATE FVEIN PIN={pin}\tFID=0\tIndex=0\tSize=4\tValid=1\tDuress=0\tTmp=QUJD\n\
             C:b{pin}:DATA UPDATE BIODATA Pin={pin}\tNo=0\tIndex=0\tValid=1\tDuress=0\tType=8\tMajorVer=5\tMinorVer=0\tFormat=0\tTmp=QUJD\n\
             C:c{pin}:DATA UPDATE BIODATA Pin={pin}\tNo=1\tIndex=0\tValid=1\tDuress=0\tType=1\tMajorVer=5\tMinorVer=0\tFormat=0\tTmp=QUJD\n\
             C:p{pin}:DATA UPDATE USERPIC PIN={pin}\tSize={size}\tContent={picture}\n\
             C:q{pin}:DATA UPDATE BIOPHOTO PIN={pin}\tType=9\tSize={size}\tContent={picture}\n"
        ));
    }
    for (nth, query) in queries.iter().enumerate() {
        lists.push(format!("C:query{nth}:{query}\n"));
    }
    let mut lists = lists.into_iter();
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(version),
        request if request.is_poll() => says(200, lists.next().unwrap_or("OK".into())),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    driver.punch("7", &second(1));
    driver.punch("8", &second(2));
    let card = json!({"pin": "7", "idnum": "11010519491231002X", "gender": 1, "nation": 1,
        "birthday": "19491231"});
    driver.call("idcard.put", card).unwrap();
    let reply = |nth: usize| {
        let codes = replies_to(&server);
        codes.get(&format!("query{nth}")).map(|codes| codes[0].to_string())
    };
    let rows = |nth: usize| {
        let id = format!("CmdId=query{nth}");
        let is_it = |part: &str| part.trim_end() == id;
        let requests = server.requests();
        let packs = requests.iter().filter(|it| it.target.split('&').any(is_it));
        packs.flat_map(|it| it.lines()).collect()
    };
    (0..queries.len())
        .map(|nth| {
            until(queries[nth], || reply(nth).is_some(), || terminal.log());
            (reply(nth).unwrap(), rows(nth))
        })
        .collect()
}

#[test]
fn every_table_of_people_is_queried_as_narrowly_as_the_record_says() {
    const QUERIES: &[&str] = &[
        "DATA QUERY USERINFO",
        "DATA QUERY USERPIC PIN=7",
        "DATA QUERY USERPIC",
        "DATA QUERY BIOPHOTO PIN=7\tType=9",
        "DATA QUERY BIOPHOTO Type=2",
        "DATA QUERY BIODATA PIN=7",
        "DATA QUERY BIODATA Type=8",
        "DATA QUERY BIODATA Type=1\tPIN=8\tNo=1",
        "DATA QUERY BIODATA",
        "DATA QUERY FACE PIN=8",
        "DATA QUERY FVEIN PIN=8",
        "DATA QUERY FINGERTMP",
        "DATA QUERY IDCARD PIN=7",
        "DATA QUERY ATTLOG",
    ];
    let begins: [(&str, usize); 14] = [
        ("USER PIN=", 2),
        ("USERPIC PIN=7\t", 1),
        ("USERPIC PIN=", 2),
        ("BIOPHOTO PIN=7\t", 1),
        ("", 0),
        ("BIODATA Pin=7\t", 2),
        ("BIODATA Pin=", 2),
        ("BIODATA Pin=8\t", 1),
        ("BIODATA Pin=", 4),
        ("FACE PIN=8\t", 1),
        ("FVEIN Pin=8\t", 1),
        ("FP PIN=", 2),
        ("IDCARD PIN=7\t", 1),
        ("", 2),
    ];
    for ((nth, (code, rows)), (begin, count)) in
        asked("", QUERIES).into_iter().enumerate().zip(begins)
    {
        let query = QUERIES[nth];
        assert_eq!((code.as_str(), rows.len()), ("0", count), "{query}: {rows:?}");
        assert!(rows.iter().all(|row| row.starts_with(begin)), "{query}: {rows:?}");
    }
}

#[test]
fn a_query_with_one_time_is_open_at_the_other_end_and_wrong_ones_say_why() {
    const QUERIES: &[&str] = &[
        "DATA QUERY ATTLOG StartTime=2026-11-02 00:00:02",
        "DATA QUERY ATTLOG EndTime=2026-11-02 00:00:01",
        "DATA QUERY ATTLOG StartTime=yesterday",
        "DATA QUERY USERPIC PIN=99",
        "DATA QUERY SMS UID=1",
        "DATA QUERY BIODATA Type=many",
    ];
    let found = asked("", QUERIES);
    let found: Vec<(&str, usize)> =
        found.iter().map(|(code, rows)| (code.as_str(), rows.len())).collect();
    assert_eq!(second(2), "2026-11-02 00:00:02");
    assert_eq!(found, [("0", 1), ("0", 1), ("-1", 0), ("-10", 0), ("-1004", 0), ("-1", 0)]);
}

#[test]
fn a_verification_of_a_card_is_no_attendance_to_who_asks_for_it() {
    const TIMES: &str = "StartTime=2026-11-02 00:00:00\tEndTime=2026-11-02 23:59:59";
    let is_asking = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&is_asking);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options("PushProtVer=2.4.1\n"),
        request if request.is_poll() && asks.load(Ordering::Relaxed) => {
            says(200, format!("C:q:DATA QUERY ATTLOG {TIMES}\nC:v:VERIFY SUM ATTLOG {TIMES}\n"))
        }
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    driver.punch("7", &second(1));
    for kind in [0, 1] {
        let idnum = "11010519491231002X";
        let punch = json!({"pin": "7", "time": second(2 + kind), "status": kind, "verify": 2,
            "idnum": idnum, "type": kind});
        driver.call("punch", punch).unwrap();
    }
    is_asking.store(true, Ordering::Relaxed);
    let sum = || {
        server.requests().into_iter().find_map(|it| {
            let text = it.text();
            let (_, sum) = text.split_once("&AttlogSum=")?;
            Some(sum.chars().take_while(char::is_ascii_digit).collect::<String>())
        })
    };
    until("both", || sum().is_some() && replies_to(&server).contains_key("q"), || terminal.log());
    let rows: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|it| it.target.contains("CmdId=q"))
        .flat_map(|it| it.lines())
        .collect();
    // In the form of a query's rows, seven fields.
    assert_eq!(
        rows,
        [format!("7\t{}\t0\t1\t0\t0\t0", second(1)), format!("7\t{}\t0\t2\t0\t0\t0", second(2)),]
    );
    assert_eq!(sum().unwrap(), "2");
}

#[test]
fn a_query_that_is_refused_for_ever_ends_and_is_told() {
    let mut lists = ["C:1:DATA QUERY ATTLOG\n", "C:2:INFO\n"].into_iter();
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, lists.next().unwrap_or("OK")),
        request if request.target.contains("CmdId=1") => says(400, "not now"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    terminal.driver().punch("7", &second(1));
    terminal.stop();
    terminal.configure(&server.url(), "");
    terminal.run();
    let code = |id: &str| replies_to(&server).get(id).map(|codes| codes[0]);
    until("both answered", || code("1").and(code("2")).is_some(), || terminal.log());
    assert_eq!((code("1"), code("2")), (Some(-1003), Some(0)));
    let offers = server.requests().iter().filter(|it| it.target.contains("CmdId=1")).count();
    assert_eq!(offers, 6, "{}", terminal.log());
    let log = terminal.log();
    assert!(log.contains("query 1 is given up") && log.contains("not now"), "{log}");
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
}
