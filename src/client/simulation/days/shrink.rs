//! Makes a day that failed shorter: events are left out as long as it still fails.

use super::plan::Plan;

/// Days that are tried at most.
const MOST_TRIES: usize = 250;

/// A day with few events that fails as well.
pub(super) fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let (mut plan, mut tries) = (plan.clone(), 0);
    let mut size = plan.events.len().div_ceil(2);
    while size > 0 {
        let (mut from, mut has_shrunk) = (0, false);
        while from < plan.events.len() {
            if tries == MOST_TRIES {
                return plan;
            }
            tries += 1;
            let mut shorter = plan.clone();
            let to = (from + size).min(plan.events.len());
            shorter.events.drain(from..to);
            if fails(&shorter) {
                (plan, has_shrunk) = (shorter, true);
            } else {
                from += size;
            }
        }
        size = if size == 1 && has_shrunk { 1 } else { size / 2 };
    }
    plan
}
