//! A strict server for the PUSH protocol.
