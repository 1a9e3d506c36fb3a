//! The terminal against the strict server: real processes, real sockets, real files.
//!
//! Each test starts `punchd` in a directory of its own and the emulator in this process. A file
//! is a topic; what several need is in `harness`, and no file takes anything from another.

#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.
#![allow(clippy::disallowed_methods, reason = "the tests run on machines with 64 bits")]

mod harness;

mod accepted_rows;
mod answer_words;
mod askings;
mod askings_killed;
mod bad_times;
mod bare_ok;
mod bulk;
mod card_reader;
mod card_reader_uinput;
mod certificates;
mod changes;
mod client_certificates;
mod clock;
mod command_line;
mod command_lists;
mod commands;
mod confinement;
mod connections;
mod csv;
mod cut_lists;
mod data_commands;
mod data_files;
mod deletions;
mod device_info;
mod dialects;
mod disk_errors;
mod doctor;
mod documents;
mod door;
mod downloads;
mod driver_abuse;
mod driver_input;
mod driver_limits;
mod driver_places;
mod driver_words;
mod drivers;
mod drivers_document;
mod earlier_store;
mod encryption;
mod endless_log;
mod enroll;
mod enroll_faults;
mod examples;
#[cfg(feature = "exchange")]
mod exchange;
#[cfg(feature = "exchange")]
mod exchange_faults;
mod fairness;
mod far_numbers;
mod fault_matrix;
mod files;
mod foreign_text;

mod full_disk;
mod guests;
mod handshake;
mod handshake_replies;
mod held_polls;
mod init;
mod injected_failures;
mod killed;
mod killed_work;
mod latency;
mod limits;
#[cfg(feature = "tls")]
mod link_faults;
mod longest_wait;
mod machine_limits;
mod malformed_answers;
mod narrowing_keys;
mod never_deaf;
#[cfg(feature = "exchange")]
mod no_exchange;
mod old_lists;
mod options;
mod order;
mod overlay;
mod poison_rows;
mod policy;
mod proxies;
mod quarantine;
mod queries;
mod reboot;
mod record_types;
mod records;
mod recovery;
mod refusing_servers;
mod relay;
mod replaced_tables;
mod replies;
mod retention;
mod retries;
#[cfg(feature = "hardened")]
mod roles;
mod room;
mod secrets;
mod server_queries;
mod shell;
#[cfg(feature = "hardened")]
mod signed_upgrade;
mod slow_downloads;
mod soak;
mod spellings;
mod stamps;
mod start;
mod store_loss;
#[cfg(all(feature = "hardened", feature = "tls"))]
mod strict;
#[cfg(feature = "tls")]
mod tls;
mod transflag;
#[cfg(feature = "hardened")]
mod trial_faults;
mod upgrade;
mod upload;
mod upload_answers;
mod upload_forms;
mod upload_modes;
mod upload_replies;
mod waiting;
mod web_pages;
mod withheld_part;
