//! Options (§9, §12.7): what holds, what is refused, who is told. Against a raw server.

use serde_json::json;

use crate::harness::{Commanding, RawRequest, base64, until};

const DEVICE: &str = "[device]\nface_version = 7\nfp_version = 10\n[device.options]\n\"~MaxFingerCount\" = \"3000\"\n\"~OEMVendor\" = \"ACME CO., LTD.\"\n";

/// The lines of the answer to `INFO`.
fn info(commanding: &mut Commanding) -> Vec<String> {
    let id = commanding.server.requests().len();
    commanding.gives(format!("C:info{id}:INFO\n").as_bytes());
    let (code, body) = commanding.answer(&format!("info{id}"));
    assert_eq!(code, 0);
    body.lines().map(str::to_owned).collect()
}

/// The lines of `INFO` that begin with one of these names, in any case.
fn told(commanding: &mut Commanding, name: &str) -> Vec<String> {
    let mut lines = info(commanding);
    lines.retain(|line| {
        line.split_once('=')
            .is_some_and(|(key, _)| key.trim_start_matches('~').eq_ignore_ascii_case(name))
    });
    lines
}

#[test]
fn each_option_is_told_once_with_the_value_that_holds() {
    let mut commanding = Commanding::start(DEVICE);
    for (command, code, name, line) in [
        ("VOLUME=66", 0, "volume", "VOLUME=66"),
        ("volume=67", 0, "volume", "VOLUME=67"),
        ("~Volume=68", 0, "volume", "~Volume=68"),
        ("FaceFunOn=1", 0, "FaceFunOn", "FaceFunOn=1"),
        ("facefunon=0", 0, "FaceFunOn", "FaceFunOn=0"),
        ("FaceFunOn=1", 0, "FaceFunOn", "FaceFunOn=1"),
        ("FaceFunOn=2", -1, "FaceFunOn", "FaceFunOn=1"),
        ("PhotoFunOn=0", 0, "PhotoFunOn", "PhotoFunOn=0"),
        ("VisilightFun=1", -1, "VisilightFun", "VisilightFun=0"),
        ("FaceVersion=7", 0, "FaceVersion", "FaceVersion=7"),
        ("FaceVersion=9", -1, "FaceVersion", "FaceVersion=7"),
        ("~MaxFingerCount=1", -1, "MaxFingerCount", "~MaxFingerCount=3000"),
        ("MaxFingerCount=3000", 0, "MaxFingerCount", "~MaxFingerCount=3000"),
        ("UserCount=5", -1, "UserCount", "UserCount=0"),
        ("Delay=2", 0, "Delay", "Delay=2"),
        ("~DELAY=3", 0, "Delay", "Delay=3"),
        ("TransFlag=TransData AttLog\tOpLog", 0, "TransFlag", "TransFlag=TransData AttLog\tOpLog"),
    ] {
        assert_eq!(commanding.returns(format!("SET OPTION {command}")), code, "{command}");
        assert_eq!(told(&mut commanding, name), [line], "{command}");
    }
}

#[test]
fn an_option_that_cannot_have_the_value_is_refused_with_the_reason() {
    let cases = [
        ("Delay=abc", "Delay is not a number of seconds"),
        ("Delay=0", "Delay is not a number of seconds"),
        ("Delay=", "Delay is not a number of seconds"),
        ("ErrorDelay=86401", "ErrorDelay is not a number of seconds"),
        ("TransInterval=-1", "TransInterval is not a number of minutes"),
        ("TransTimes=08:00;25:00", "TransTimes is not up to ten times"),
        ("TransFlag=Everything", "TransFlag is not digits"),
        ("TransFlag=", "TransFlag is not digits"),
        ("TimeZone=Mars", "TimeZone is not a time zone"),
        ("Realtime=maybe", "Realtime is not 0 or 1"),
        ("PushOptionsFlag=2", "PushOptionsFlag is not 0 or 1"),
        ("MaxPostSize=huge", "MaxPostSize is not a number of bytes"),
        ("Encrypt=1", "Encrypt has an effect in a handshake only"),
        ("~SerialNumber=X", "~SerialNumber is \"MADE0001\" and is read-only"),
        ("VOLUME=a\tb", "has a control character"),
        ("a b=1", "the name \"a b\" is not 1 to 64 letters"),
        ("VOLUME", "not of the form name=value"),
    ];
    let mut commanding = Commanding::start("");
    let commands: Vec<String> =
        cases.iter().map(|(option, _)| format!("SET OPTION {option}")).collect();
    let codes = commanding.returns_all(&commands);
    let log = commanding.terminal.log();
    for (nth, ((option, why), code)) in cases.iter().zip(codes).enumerate() {
        assert_eq!(code, -1, "{option}");
        let refused = format!("command {} was refused with -1: ", nth + 1);
        let line = log.lines().find(|line| line.contains(&refused));
        assert!(line.is_some_and(|line| line.contains(why)), "{option}: {line:?}");
    }
}

#[test]
fn an_option_holds_at_once_and_until_a_handshake_says_otherwise() {
    let mut commanding = Commanding::start("");
    let punch = |commanding: &Commanding, pin: &str| {
        commanding.terminal.driver().call("punch", json!({"pin": pin})).unwrap();
    };
    let pending = |commanding: &Commanding| {
        commanding.terminal.status()["streams"]["punches"]["pending"].clone()
    };
    // The handshake of this server names TransFlag and TimeZone.
    let set =
        ["SET OPTION TransFlag=TransData OpLog", "SET OPTION TimeZone=5", "SET OPTION VOLUME=7"];
    assert_eq!(commanding.returns_all(&set), [0, 0, 0]);
    punch(&commanding, "1");
    assert_eq!(commanding.returns("LOG"), 0);
    assert_eq!(told(&mut commanding, "TimeZone"), ["TimeZone=5"]);
    punch(&commanding, "2");
    assert_eq!(commanding.returns("INFO"), 0);
    assert_eq!(pending(&commanding), 1);
    // The row of the second punch comes after the next handshake, which names TransFlag, and has
    // the time of the zone that was set when it was recorded.
    let handshakes = |commanding: &Commanding| {
        commanding.server.requests().iter().filter(|it| it.is_handshake()).count()
    };
    let before = handshakes(&commanding);
    assert_eq!(commanding.returns("CHECK"), 0);
    until("shaken hands", || handshakes(&commanding) > before, || commanding.terminal.log());
    commanding.terminal.wait_for("uploaded", |status| status["streams"]["punches"]["pending"] == 0);
    // Another option that is set does not bring back what the handshake changed.
    assert_eq!(commanding.returns("SET OPTION VOLUME=8"), 0);
    assert_eq!(told(&mut commanding, "TransFlag"), [""; 0]);
    punch(&commanding, "3");
    commanding.terminal.wait_for("uploaded", |status| status["streams"]["punches"]["pending"] == 0);
    let page = commanding.terminal.driver().call("changes", json!({"after": 0})).unwrap();
    assert_eq!(page["options"], json!([{"name": "VOLUME", "value": "8"}]));
}

/// A server whose handshake names nothing that can be set keeps what was set over a restart.
#[test]
fn an_option_holds_over_a_restart() {
    let mut commanding = Commanding::start("");
    assert_eq!(commanding.returns("SET OPTION PostSelfDefineDataType=PostVerifyData"), 0);
    assert_eq!(commanding.returns("SET OPTION VOLUME=7"), 0);
    commanding.terminal.stop();
    commanding.terminal.run();
    assert_eq!(
        told(&mut commanding, "PostSelfDefineDataType"),
        ["PostSelfDefineDataType=PostVerifyData"]
    );
    assert_eq!(told(&mut commanding, "VOLUME"), ["VOLUME=7"]);
}

#[test]
fn drivers_read_what_the_server_set_and_set_what_the_terminal_is() {
    let mut commanding = Commanding::start_with(
        "PushOptionsFlag=1\nPushOptions=MAC,VOLUME,FaceCount,~MaxFingerCount\n",
        DEVICE,
    );
    let mut driver = commanding.terminal.driver();
    let page = driver.call("changes", json!({"after": 0})).unwrap();
    assert_eq!(commanding.returns("SET OPTION VOLUME=7"), 0);
    driver.call("option.set", json!({"name": "MAC", "value": "02:00:00:00:00:01"})).unwrap();
    driver.call("option.set", json!({"name": "~Platform", "value": "MADE_TFT"})).unwrap();
    let page = driver.call("changes", json!({"after": page["upto"]})).unwrap();
    assert_eq!(
        page["options"],
        json!([
            {"name": "VOLUME", "value": "7"},
            {"name": "MAC", "value": "02:00:00:00:00:01"},
            {"name": "~Platform", "value": "MADE_TFT"},
        ])
    );
    assert_eq!(
        driver.call("option.get", json!({"name": "~volume"})).unwrap(),
        json!({"name": "VOLUME", "value": "7"})
    );
    assert_eq!(driver.call("option.get", json!({"name": "Unheard"})).unwrap(), json!(null));
    for (name, value, field) in [
        ("Delay", "5", "name"),
        ("FaceFunOn", "1", "name"),
        ("~UserCount", "1", "name"),
        ("Encrypt", "1", "name"),
        ("a b", "1", "name"),
        ("MAC", "a\nb", "value"),
    ] {
        let refused = driver.call("option.set", json!({"name": name, "value": value})).unwrap_err();
        assert!(refused.to_string().contains(field), "{name}: {refused}");
    }
    assert_eq!(told(&mut commanding, "mac"), ["MAC=02:00:00:00:00:01"]);
    let pushed = || {
        let requests = commanding.server.requests();
        requests.iter().rfind(|it| it.target.contains("table=options")).map(|it| it.text())
    };
    let expected = "MAC=02:00:00:00:00:01,VOLUME=7,FaceCount=0,~MaxFingerCount=3000";
    until("pushed", || pushed().as_deref() == Some(expected), || format!("{:?}", pushed()));
}

#[test]
fn options_are_pushed_only_to_a_server_that_wants_to_know_some_that_exist() {
    for (options, is_pushed) in [
        ("PushOptionsFlag=1\nPushOptions=FaceFunOn,Unheard\n", true),
        ("PushOptions=FaceFunOn\n", true),
        ("PushOptionsFlag=1\nPushOptions=UserCount\n", true),
        ("PushOptionsFlag=1\n", true),
        ("PushOptionsFlag=1\nPushOptions=Unheard,Neither\n", false),
        ("PushOptionsFlag=0\nPushOptions=FaceFunOn\n", false),
        ("PushOptionsFlag=0\n", false),
        ("", false),
    ] {
        let mut commanding = Commanding::start_with(options, DEVICE);
        // By the time of the second answer everything that is due at the start has gone.
        assert_eq!((commanding.returns("LOG"), commanding.returns("INFO")), (0, 0));
        let requests = commanding.server.requests();
        let bodies: Vec<String> = requests
            .iter()
            .filter(|it| it.target.contains("table=options"))
            .map(|it| it.text())
            .collect();
        assert_eq!(!bodies.is_empty(), is_pushed, "{options:?}: {bodies:?}");
        assert!(bodies.iter().all(|body| !body.is_empty()), "{options:?}");
    }
}

#[test]
fn an_option_that_was_set_is_pushed_before_the_next_polls() {
    let mut commanding = Commanding::start_with("PushOptionsFlag=1\n", DEVICE);
    let pushed = |text: &str, requests: &[RawRequest]| {
        let is_it =
            |it: &RawRequest| it.target.contains("table=options") && it.text().contains(text);
        requests.iter().rposition(is_it)
    };
    let wait_for = |text: &str, commanding: &Commanding| {
        let came = || pushed(text, &commanding.server.requests()).is_some();
        until(text, came, || format!("{:?}", commanding.server.requests()));
    };
    wait_for("FaceFunOn=1", &commanding);
    // They are compared, and are as the server knows them: otherwise not for ten seconds.
    assert_eq!((commanding.returns("LOG"), commanding.returns("INFO")), (0, 0));
    let before = commanding.server.requests().len();
    assert_eq!(commanding.returns("SET OPTION FaceFunOn=0"), 0);
    wait_for("FaceFunOn=0", &commanding);
    let requests = commanding.server.requests();
    let at = pushed("FaceFunOn=0", &requests).expect("it came");
    let polls = requests[before..at].iter().filter(|it| it.is_poll()).count();
    assert!(polls < 4, "{polls} polls before it");
}

#[test]
fn faces_are_counted_by_people_in_every_form() {
    let mut commanding = Commanding::start(DEVICE);
    let tmp = base64(b"made-up template");
    let commands = [
        "DATA UPDATE USERINFO PIN=1".to_owned(),
        "DATA UPDATE USERINFO PIN=2".to_owned(),
        "DATA UPDATE USERINFO PIN=3".to_owned(),
        format!("DATA UPDATE FACE PIN=1\tFID=0\tValid=1\tSize=24\tTMP={tmp}"),
        format!("DATA UPDATE FACE PIN=1\tFID=1\tValid=1\tSize=24\tTMP={tmp}"),
        format!("DATA UPDATE BIODATA Pin=2\tType=9\tMajorVer=39\tMinorVer=3\tTmp={tmp}"),
        format!("DATA UPDATE BIODATA Pin=1\tType=9\tMajorVer=39\tMinorVer=3\tTmp={tmp}"),
        format!("DATA UPDATE BIODATA Pin=3\tType=8\tTmp={tmp}"),
    ];
    assert_eq!(commanding.returns_all(&commands), [0; 8]);
    assert_eq!(told(&mut commanding, "FaceCount"), ["FaceCount=2"]);
    let polled = || {
        let requests = commanding.server.requests();
        requests
            .iter()
            .any(|it| it.target.contains("&INFO=") && it.target.ends_with(",10,7,0,2,110"))
    };
    until("told by a poll", polled, || format!("{:?}", commanding.server.requests()));
    // A function that is switched off is no function of the terminal.
    assert_eq!(commanding.returns("SET OPTION FaceFunOn=0"), 0);
    let polled = || {
        let requests = commanding.server.requests();
        requests
            .iter()
            .any(|it| it.target.contains("&INFO=") && it.target.ends_with(",10,7,0,2,100"))
    };
    until("told of the switch", polled, || format!("{:?}", commanding.server.requests()));
}
