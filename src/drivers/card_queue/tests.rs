use proptest::prelude::*;

use super::*;

/// A queue, a clock that the test moves, and a punchd that knows card 7 as Ann's.
struct Scene {
    card_queue: CardQueue,
    now: Instant,
}

fn scene() -> Scene {
    Scene { card_queue: CardQueue::new(Duration::from_secs(3), 1), now: Instant::now() }
}

fn refused(code: ErrorCode) -> Result<Value, RpcError> {
    Err(RpcError::new(code, "no"))
}

fn params(params: Value) -> Params {
    Params::from_value(params).unwrap()
}

fn answer(id: &Value, result: Value) -> Answer {
    Answer { id: id.clone(), result }
}

impl Scene {
    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn on_card(&mut self, number: &str) -> CardRead {
        self.card_queue.on_card(number.into(), self.now)
    }

    fn call(&mut self) -> Option<(Method, Value)> {
        self.card_queue.next_call(self.now)
    }

    fn answer(&mut self, answer: Value) {
        self.card_queue.on_answer(Ok(answer), self.now);
    }
}

#[test]
fn a_card_is_its_persons_punch() {
    let mut scene = scene();
    assert_eq!(scene.call(), None);
    assert_eq!(scene.on_card("7"), CardRead::Queued(1));
    assert_eq!(scene.call(), Some((Method::UserGet, json!({"card": "7"}))));
    scene.answer(json!({"pin": "ann"}));
    let punch = json!({"pin": "ann", "verify": 4, "status": 1});
    assert_eq!(scene.call(), Some((Method::Punch, punch)));
    scene.answer(json!({"seq": 1}));
    assert_eq!(scene.call(), None);
}

#[test]
fn an_unknown_card_is_a_failed_verification() {
    let mut scene = scene();
    scene.on_card("8");
    scene.call();
    scene.answer(Value::Null);
    assert_eq!(scene.call(), Some((Method::Operation, json!({"op": 2}))));
}

#[test]
fn a_card_that_waited_carries_the_time_of_its_reading() {
    for (clock, time) in [
        (json!({"time": "2026-11-02 08:00:00"}), json!("2026-11-02 07:59:30")),
        (json!({"time": null}), Value::Null),
        (json!({"time": "2000-01-01 00:00:10"}), Value::Null),
        (json!({"time": "soon"}), Value::Null),
        (json!([]), Value::Null),
    ] {
        let mut scene = scene();
        scene.on_card("7");
        scene.call();
        scene.card_queue.on_disconnect();
        scene.pass(30_000);
        assert_eq!(scene.call().unwrap().0, Method::UserGet);
        scene.answer(json!({"pin": "ann"}));
        assert_eq!(scene.call(), Some((Method::Status, json!({}))));
        scene.answer(clock);
        let (method, punch) = scene.call().unwrap();
        assert_eq!((method, &punch["time"]), (Method::Punch, &time));
    }
}

#[test]
fn a_card_that_is_not_taken_away_is_one_punch() {
    let mut scene = scene();
    assert_eq!(scene.on_card("7"), CardRead::Queued(1));
    for _ in 0..5 {
        scene.pass(2_000);
        assert_eq!(scene.on_card("7"), CardRead::Repeated);
    }
    assert_eq!(scene.on_card("8"), CardRead::Queued(2));
    assert_eq!(scene.on_card("7"), CardRead::Queued(3));
    scene.pass(3_000);
    assert_eq!(scene.on_card("7"), CardRead::Queued(4));
}

#[test]
fn a_card_that_could_not_be_stored_is_tried_again() {
    let mut scene = scene();
    scene.on_card("7");
    for pause in [2, 4, 8, 16, 32, 60, 60] {
        // Whose it is can still be read; by and by it is late, and the time is asked for.
        let mut asked = Vec::new();
        while asked.last() != Some(&Method::Punch) {
            asked.push(scene.call().unwrap().0);
            if asked.last() != Some(&Method::Punch) {
                scene.answer(json!({"pin": "ann", "time": "2026-11-02 08:00:00"}));
            }
        }
        assert_eq!(asked.contains(&Method::Status), pause > 4, "{pause}");
        scene.card_queue.on_answer(refused(ErrorCode::Capacity), scene.now);
        assert_eq!(scene.call(), None);
        assert_eq!(scene.card_queue.deadline(true), Some(scene.now + Duration::from_secs(pause)));
        assert_eq!(scene.card_queue.deadline(false), None);
        scene.pass(pause * 1000);
    }
}

#[test]
fn a_card_that_is_refused_makes_room() {
    let mut scene = scene();
    scene.on_card("7");
    scene.on_card("8");
    scene.call();
    scene.card_queue.on_answer(refused(ErrorCode::InvalidParams), scene.now);
    assert_eq!(scene.call(), Some((Method::UserGet, json!({"card": "8"}))));
    // The person may try again at once.
    assert_eq!(scene.on_card("7"), CardRead::Queued(2));
}

#[test]
fn the_number_of_cards_that_wait_is_bounded() {
    let mut scene = scene();
    for number in 1..=MOST_WAITING {
        assert_eq!(scene.on_card(&number.to_string()), CardRead::Queued(number));
    }
    assert_eq!((scene.on_card("x"), scene.card_queue.room()), (CardRead::QueueFull, 0));
    // It was not recorded: when there is room again, it counts at once.
    scene.call();
    scene.answer(Value::Null);
    scene.call();
    scene.answer(json!({"seq": 1}));
    assert_eq!(scene.on_card("x"), CardRead::Queued(MOST_WAITING));
}

#[test]
fn the_next_card_is_enrolled_and_no_punch() {
    let mut scene = scene();
    scene.on_card("7");
    let ask = params(json!({"pin": "bob", "kind": "card", "retry": 1, "overwrite": true}));
    assert_eq!(scene.card_queue.enroll(json!(5), &ask, scene.now), None);
    let busy = scene.card_queue.enroll(json!(6), &ask, scene.now);
    assert_eq!(busy, Some(answer(&json!(6), json!({"outcome": "busy"}))));
    // Also if it is the card that was read a moment ago.
    let done = answer(&json!(5), json!({"outcome": "done", "card": "7"}));
    assert_eq!(scene.on_card("7"), CardRead::Enrolled(done));
    // What was read before is a punch, what is still held there is none.
    assert_eq!((scene.on_card("7"), scene.card_queue.waiting().count()), (CardRead::Repeated, 1));
}

#[test]
fn an_enrolment_ends_in_one_way_or_another() {
    let ask = params(json!({"pin": "bob", "kind": "card", "retry": 1}));
    let outcome = |outcome: &str| Some(answer(&json!("a"), json!({"outcome": outcome})));
    let begun = || {
        let mut scene = scene();
        scene.card_queue.enroll(json!("a"), &ask, scene.now);
        scene
    };
    let mut cancelled = begun();
    assert_eq!(cancelled.card_queue.cancel(&params(json!({"id": "b"}))), None);
    assert_eq!(cancelled.card_queue.cancel(&params(json!({"id": "a"}))), outcome("cancelled"));
    assert_eq!(cancelled.card_queue.cancel(&params(json!({"id": "a"}))), None);
    let mut failed = begun();
    assert_eq!(
        (failed.card_queue.on_read_error(), failed.card_queue.on_read_error()),
        (None, outcome("failed"))
    );
    let mut late = begun();
    assert_eq!(late.card_queue.check_timeout(late.now), None);
    let due = late.card_queue.deadline(true).unwrap();
    assert_eq!(late.card_queue.check_timeout(due), outcome("timeout"));
    assert_eq!(late.card_queue.deadline(true), None);
    let mut lost = begun();
    lost.card_queue.on_disconnect();
    assert_eq!(lost.on_card("7"), CardRead::Queued(1));
}

proptest! {
    #[test]
    fn every_card_is_finished_whatever_is_read_and_answered(
        events in proptest::collection::vec((0u8..9, 0u64..5000), 0..400),
    ) {
        let mut scene = scene();
        let mut asked = false;
        for (event, ms) in events {
            scene.pass(ms);
            match event {
                0..=2 => drop(scene.on_card(&format!("{ms}"))),
                3 => {
                    let ask = params(json!({"pin": 5, "retry": -1}));
                    scene.card_queue.enroll(json!(ms), &ask, scene.now);
                }
                4 => drop(scene.card_queue.on_read_error()),
                5 => {
                    scene.card_queue.on_disconnect();
                    asked = false;
                }
                6 if asked => scene.card_queue.on_answer(refused(ErrorCode::Capacity), scene.now),
                7 if asked => scene.answer(json!({"pin": "1", "time": "2026-11-02 08:00:00"})),
                _ if asked => scene.answer(Value::Null),
                _ => {}
            }
            asked = asked && event < 6;
            asked = asked || scene.call().is_some();
            prop_assert!(scene.card_queue.waiting().count() <= MOST_WAITING);
        }
        // A punchd that works takes all of them.
        scene.card_queue.on_disconnect();
        for _ in 0..3 * MOST_WAITING {
            if scene.call().is_some() {
                scene.answer(Value::Null);
            }
        }
        prop_assert_eq!(scene.card_queue.waiting().count(), 0);
    }
}
