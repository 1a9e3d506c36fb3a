//! The loop in virtual time, against a server, a device and a clock that a test moves: lists of
//! commands have the effect of their commands one by one, whatever is slow, fails or is killed.

mod clock;
mod costs;
mod crashes;
mod days;
mod fleet;
mod limits;
mod lists;
mod looks;
mod model;
mod pauses;
pub(crate) mod random;
mod recovery;
mod repeats;
mod terminal;
mod world;
mod years;

use lists::Lists;
use model::Model;
use random::Random;
use terminal::Terminal;

/// Lists in one scenario; a terminal of its own for each.
const LISTS: usize = 8;

/// Runs scenarios from `first` on; each is known by its number.
fn run(first: u64, scenarios: u64) {
    for seed in first..first + scenarios {
        scenario(seed);
    }
}

fn scenario(seed: u64) {
    let mut random = Random::new(seed);
    let mut terminal = Terminal::new(seed);
    let mut model = Model::default();
    let mut said = String::new();
    // Every third terminal has a server that never fails.
    let is_smooth = seed.is_multiple_of(3);
    let mut is_idle = true;
    for list in 0..LISTS {
        if is_idle {
            model.log.insert(terminal.record_punch(list));
        }
        let mut text = String::new();
        let count = 2 + random.below(39);
        let mut expected = Vec::new();
        for nth in 0..count {
            let id = format!("{seed}-{list}-{nth}");
            let mut lists = Lists { random: &mut random, terminal: &terminal, is_smooth };
            let command = lists.command();
            text += &format!("C:{id}:{command}\n");
            said += &format!("C:{id}:{command}\n{}", terminal.file_of(&command));
            expected.push((id, model.carry_out(&command, &terminal)));
        }
        said += "--\n";
        terminal.give(text);
        // The next list may come while this one is under way.
        is_idle = random.below(3) > 0 || list + 1 == LISTS;
        if is_idle {
            terminal.run(&mut random, is_smooth, seed, &said);
        }
        model.expect(expected);
    }
    // What is there in the end is asked for.
    let mut expected = Vec::new();
    let mut text = String::new();
    for table in ["USERINFO", "FINGERTMP", "BIOPHOTO"] {
        let (id, command) = (format!("{seed}-{table}"), format!("DATA QUERY {table}"));
        text += &format!("C:{id}:{command}\n");
        expected.push((id, model.carry_out(&command, &terminal)));
    }
    terminal.give(text);
    model.expect(expected);
    terminal.run(&mut random, is_smooth, seed, &said);
    // The device reboots after the answer to the command, which may be the last.
    terminal.run_until_rebooted();
    model.compare(&terminal, seed, &said);
}

/// `PUNCHD_SIMULATION` has the number of lists, 16 or more; scripts/test runs 4 000.
#[test]
fn random_lists_have_the_effect_of_their_commands_one_by_one() {
    let lists = std::env::var("PUNCHD_SIMULATION").map_or(160, |lists| lists.parse().unwrap());
    let half = lists / LISTS as u64 / 2;
    assert!(half > 0, "PUNCHD_SIMULATION is {} or more", 2 * LISTS);
    std::thread::scope(|scope| {
        scope.spawn(|| run(1, half));
        scope.spawn(|| run(1_000_000, half));
    });
}
