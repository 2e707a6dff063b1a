//! Redis' protocol.

use std::io::Result;

use crate::figures::resp::*;

fn texts(input: &str, count: usize) -> Result<Vec<String>> {
    let (mut replies, mut text) = (Replies::new(input.as_bytes()), Vec::new());
    let mut read = || replies.text(&mut text).map(|()| String::from_utf8_lossy(&text).into_owned());
    (0..count).map(|_| read()).collect()
}

fn check_refused(input: &str, expected: &str) {
    let error = texts(input, 1).expect_err("Redis said something else").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn commands_carry_the_lengths_of_their_parts() {
    let mut bytes = Vec::new();
    command(&mut bytes, &[b"XADD", b"k", b"\r\n"]);
    assert_eq!(bytes, b"*3\r\n$4\r\nXADD\r\n$1\r\nk\r\n$2\r\n\r\n\r\n");
}

#[test]
fn strings_of_every_kind_are_read() {
    assert_eq!(texts("+OK\r\n$3\r\na\r\n\r\n:42\r\n$0\r\n\r\n", 4).unwrap(), ["OK", "a\r\n", "42", ""]);
}

#[test]
fn lists_are_read_item_by_item() {
    let (mut replies, mut text) = (Replies::new(&b"*2\r\n$1\r\na\r\n*0\r\n"[..]), Vec::new());
    assert_eq!(replies.list().unwrap(), 2);
    replies.text(&mut text).unwrap();
    assert_eq!((text.as_slice(), replies.list().unwrap()), (&b"a"[..], 0));
}

#[test]
fn errors_are_told_and_never_taken_for_data() {
    check_refused("-ERR unknown command\r\n", "-ERR unknown command");
    check_refused("$-1\r\n", "instead of a length");
    check_refused("$5\r\nab", "failed to fill");
    check_refused("+OK", "a whole line");
    check_refused("", "closed the connection");
}
