//! What runs had: a count of each thing, so that a run that proves nothing is seen.

use std::fmt;

macro_rules! tally {
    ($($name:ident: $words:literal,)*) => {
        /// Counts of one run, or of many together.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Tally { $(pub(crate) $name: u64,)* }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Tally {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let counts = [$((self.$name, $words),)*];
                let words: Vec<String> = counts.iter().map(|(count, what)| format!("{count} {what}")).collect();
                f.write_str(&words.join(", "))
            }
        }
    };
}

tally!(
    turns: "turns",
    requests: "requests",
    stored: "events stored",
    others: "of another process",
    acknowledged: "acknowledged",
    duplicates: "answered as duplicates",
    rejected: "rejected",
    conflicts: "conflicts",
    refused: "refused",
    unknown: "unknown",
    stopped: "stopped or closed",
    delivered: "delivered",
    ends: "ends told",
    handlers: "handlers subscribed",
    handled: "calls of handlers",
    panics: "of them panicked",
    left: "times unsubscribed",
    opened: "streams opened",
    cuts: "futures dropped",
    read_errors: "reads failed",
    delays: "reads delayed",
    store_pages: "pages of the store",
    head_moves: "moved heads",
    kills: "kills",
    power_cuts: "power cuts",
    tails_lost: "with a tail lost",
    shutdowns: "shutdowns",
);
