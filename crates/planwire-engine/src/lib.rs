//! Room of planwire.
