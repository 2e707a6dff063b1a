//! `/openapi.json`: served once made, and not sent again to who has it.

use crate::client::{Client, get};
use crate::served::Served;

#[tokio::test]
async fn document_is_not_sent_again_to_who_has_it() {
    let served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    let first = get(served.address, "/openapi.json").await;
    assert_eq!((first.status, first.json()["openapi"].as_str()), (200, Some("3.1.0")));
    assert_eq!(first.header("cache-control"), Some("public, max-age=3600"));
    let etag = first.header("etag").unwrap().to_owned();
    for (known, status) in [
        (etag.clone(), 304),
        (format!("\"other\", W/{etag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        client.ask("GET", "/openapi.json", &[&format!("If-None-Match: {known}")], "").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("etag")), (status, Some(&*etag)), "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
}
