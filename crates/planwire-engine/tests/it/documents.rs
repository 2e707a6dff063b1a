//! What plan documents promise: sound ones are read in full, broken ones are told where and why.

mod asking;
mod broken;
mod sound;
