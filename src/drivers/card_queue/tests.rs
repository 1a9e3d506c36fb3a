use proptest::prelude::*;

use super::*;

/// A card_queue, a clock that the test moves, and a daemon that knows card 7 as Ann's.
struct Scene {
    card_queue: CardQueue,
    now: Instant,
}

fn scene() -> Scene {
    Scene { card_queue: CardQueue::new(Duration::from_secs(3), 1), now: Instant::now() }
}

fn refused(code: i64) -> Result<Value, Refused> {
    Err(Refused { code, message: "no".into() })
}

impl Scene {
    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn on_card(&mut self, number: &str) -> Seen {
        self.card_queue.on_card(number.into(), self.now)
    }

    fn call(&mut self) -> Option<(&'static str, Value)> {
        self.card_queue.call(self.now)
    }

    fn answer(&mut self, answer: Value) {
        self.card_queue.answered(Ok(answer), self.now);
    }
}

#[test]
fn a_card_is_its_persons_punch() {
    let mut scene = scene();
    assert_eq!(scene.call(), None);
    assert_eq!(scene.on_card("7"), Seen::Waits(1));
    assert_eq!(scene.call(), Some(("user.get", json!({"card": "7"}))));
    scene.answer(json!({"pin": "ann"}));
    let punch = json!({"pin": "ann", "verify": 4, "status": 1});
    assert_eq!(scene.call(), Some(("punch", punch)));
    scene.answer(json!({"seq": 1}));
    assert_eq!(scene.call(), None);
}

#[test]
fn nobodys_card_is_a_failed_verification() {
    let mut scene = scene();
    scene.on_card("8");
    scene.call();
    scene.answer(Value::Null);
    assert_eq!(scene.call(), Some(("operation", json!({"op": 2}))));
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
        scene.card_queue.lost();
        scene.pass(30_000);
        assert_eq!(scene.call().unwrap().0, "user.get");
        scene.answer(json!({"pin": "ann"}));
        assert_eq!(scene.call(), Some(("status", json!({}))));
        scene.answer(clock);
        let (method, punch) = scene.call().unwrap();
        assert_eq!((method, &punch["time"]), ("punch", &time));
    }
}

#[test]
fn a_card_that_is_held_there_is_one_punch() {
    let mut scene = scene();
    assert_eq!(scene.on_card("7"), Seen::Waits(1));
    for _ in 0..5 {
        scene.pass(2_000);
        assert_eq!(scene.on_card("7"), Seen::Repeated);
    }
    assert_eq!(scene.on_card("8"), Seen::Waits(2));
    assert_eq!(scene.on_card("7"), Seen::Waits(3));
    scene.pass(3_000);
    assert_eq!(scene.on_card("7"), Seen::Waits(4));
}

#[test]
fn what_the_store_could_not_keep_is_tried_again() {
    let mut scene = scene();
    scene.on_card("7");
    for pause in [2, 4, 8, 16, 32, 60, 60] {
        // Whose it is can still be read; by and by it is late, and the time is asked for.
        let mut asked = Vec::new();
        while asked.last() != Some(&"punch") {
            asked.push(scene.call().unwrap().0);
            if asked.last() != Some(&"punch") {
                scene.answer(json!({"pin": "ann", "time": "2026-11-02 08:00:00"}));
            }
        }
        assert_eq!(asked.contains(&"status"), pause > 4, "{pause}");
        scene.card_queue.answered(refused(STORAGE), scene.now);
        assert_eq!(scene.call(), None);
        assert_eq!(scene.card_queue.due(true), Some(scene.now + Duration::from_secs(pause)));
        assert_eq!(scene.card_queue.due(false), None);
        scene.pass(pause * 1000);
    }
}

#[test]
fn what_the_daemon_refuses_for_good_makes_room() {
    let mut scene = scene();
    scene.on_card("7");
    scene.on_card("8");
    scene.call();
    scene.card_queue.answered(refused(-32602), scene.now);
    assert_eq!(scene.call(), Some(("user.get", json!({"card": "8"}))));
    // Who tries once more is not told to wait.
    assert_eq!(scene.on_card("7"), Seen::Waits(2));
}

#[test]
fn so_many_cards_wait_and_no_more() {
    let mut scene = scene();
    for number in 1..=MOST_WAITING {
        assert_eq!(scene.on_card(&number.to_string()), Seen::Waits(number));
    }
    assert_eq!((scene.on_card("x"), scene.card_queue.room()), (Seen::NoRoom, 0));
    // It was not recorded: when there is room again, it counts at once.
    scene.call();
    scene.answer(Value::Null);
    scene.call();
    scene.answer(json!({"seq": 1}));
    assert_eq!(scene.on_card("x"), Seen::Waits(MOST_WAITING));
}

#[test]
fn the_next_card_is_enrolled_and_no_punch() {
    let mut scene = scene();
    scene.on_card("7");
    let ask = json!({"pin": "bob", "kind": "card", "retry": 1, "overwrite": true});
    assert_eq!(scene.card_queue.enroll(json!(5), &ask, scene.now), None);
    let busy = scene.card_queue.enroll(json!(6), &ask, scene.now);
    assert_eq!(busy, Some((json!(6), json!({"outcome": "busy"}))));
    // Also if it is the card that was read a moment ago.
    let done = json!({"outcome": "done", "card": "7"});
    assert_eq!(scene.on_card("7"), Seen::Enrolled(json!(5), done));
    // What was read before is a punch, what is still held there is none.
    assert_eq!((scene.on_card("7"), scene.card_queue.waiting().count()), (Seen::Repeated, 1));
}

#[test]
fn an_enrolment_ends_in_one_way_or_another() {
    let ask = json!({"pin": "bob", "kind": "card", "retry": 1});
    let outcome = |outcome: &str| Some((json!("a"), json!({"outcome": outcome})));
    let begun = || {
        let mut scene = scene();
        scene.card_queue.enroll(json!("a"), &ask, scene.now);
        scene
    };
    let mut cancelled = begun();
    assert_eq!(cancelled.card_queue.cancel(&json!({"id": "b"})), None);
    assert_eq!(cancelled.card_queue.cancel(&json!({"id": "a"})), outcome("cancelled"));
    assert_eq!(cancelled.card_queue.cancel(&json!({"id": "a"})), None);
    let mut failed = begun();
    assert_eq!(
        (failed.card_queue.on_read_error(), failed.card_queue.on_read_error()),
        (None, outcome("failed"))
    );
    let mut late = begun();
    assert_eq!(late.card_queue.look_after(late.now), None);
    let due = late.card_queue.due(true).unwrap();
    assert_eq!(late.card_queue.look_after(due), outcome("timeout"));
    assert_eq!(late.card_queue.due(true), None);
    let mut lost = begun();
    lost.card_queue.lost();
    assert_eq!(lost.on_card("7"), Seen::Waits(1));
}

proptest! {
    #[test]
    fn whatever_is_read_and_answered_every_card_has_an_end(
        events in proptest::collection::vec((0u8..9, 0u64..5000), 0..400),
    ) {
        let mut scene = scene();
        let mut asked = false;
        for (event, ms) in events {
            scene.pass(ms);
            match event {
                0..=2 => drop(scene.on_card(&format!("{ms}"))),
                3 => drop(scene.card_queue.enroll(json!(ms), &json!({"pin": 5, "retry": -1}), scene.now)),
                4 => drop(scene.card_queue.on_read_error()),
                5 => {
                    scene.card_queue.lost();
                    asked = false;
                }
                6 if asked => scene.card_queue.answered(refused(STORAGE), scene.now),
                7 if asked => scene.answer(json!({"pin": "1", "time": "2026-11-02 08:00:00"})),
                _ if asked => scene.answer(Value::Null),
                _ => {}
            }
            asked = asked && event < 6;
            asked = asked || scene.call().is_some();
            prop_assert!(scene.card_queue.waiting().count() <= MOST_WAITING);
        }
        // A daemon that works takes all of them.
        scene.card_queue.lost();
        for _ in 0..3 * MOST_WAITING {
            if scene.call().is_some() {
                scene.answer(Value::Null);
            }
        }
        prop_assert_eq!(scene.card_queue.waiting().count(), 0);
    }
}
