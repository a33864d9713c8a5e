//! Large values: whoever else is on the same async thread does not wait while one is encoded or decoded.

use statehouse_testkit::{longest_poll, thread_time};

use super::*;

on_both_tiers! {
    #[tokio::test]
    async fn a_large_value_is_encoded_and_decoded_away_from_the_async_thread(caches: Caches) {
        let value = vec![7_u32; 1 << 20];
        let begun = thread_time();
        let length = Codec::MessagePack.encode(&value).unwrap().len();
        // What it takes to encode it once; it is done more than once.
        let once = thread_time() - begun;
        assert!(length > 1 << 20);
        let cache = open::<Vec<u32>>(&caches);
        let (stored, set) = longest_poll(async { cache.set("a", value.clone()).await }).await;
        stored.unwrap();
        let (found, get) = longest_poll(async { cache.get("a").await }).await;
        assert_eq!(found.unwrap().unwrap().len(), value.len());
        let (found, many) = longest_poll(async { cache.get_many(&["a", "b"]).await }).await;
        assert_eq!(found.unwrap()[0].as_ref().unwrap().len(), value.len());
        let again = value.clone();
        let load = async || Ok::<_, io::Error>(again);
        let (loaded, load) = longest_poll(async { cache.get_or_load("b", load).await }).await;
        assert_eq!(loaded.unwrap().len(), value.len());
        for (what, took) in [("set", set), ("get", get), ("get_many", many), ("get_or_load", load)] {
            assert!(took * 4 < once, "{what} held the thread for {took:?}, of {once:?}");
        }
    }
}

#[tokio::test]
async fn what_panics_while_a_large_value_is_encoded_is_an_error() {
    #[derive(Deserialize)]
    struct Panics(Vec<u8>);

    impl Serialize for Panics {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq as _;
            let mut all = serializer.serialize_seq(Some(self.0.len()))?;
            for (place, byte) in self.0.iter().enumerate() {
                assert!(place < 200_000, "at hunter2");
                all.serialize_element(byte)?;
            }
            all.end()
        }
    }

    let cache = open::<Panics>(&bytes());
    let error = cache.set("a", Panics(vec![1; 300_000])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(!format!("{error:?}").contains("hunter2"));
}
