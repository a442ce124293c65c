//! Requests that are invalid: each is refused as a whole, with the name of the field.

use crate::support::{json_text, shared_account};
use serde_json::json;

/// Bodies of `/db`, and what the message must name.
const INVALID: &[(&str, &str)] = &[
    // Unknown fields, at every level; names are told apart by case.
    (r#"{"KVSets":[]}"#, "KVSets"),
    (r#"{"kvget":[{"Key":"k"}]}"#, "kvget"),
    (r#"{"LockId":"l","LockDur":30}"#, "LockId"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"Ttl":5}]}"#, "Ttl"),
    (r#"{"KVGet":[{"Key":"k","Version":1}]}"#, "Version"),
    (r#"{"Atomic":[{"Key":"n","Add":1,"IfEQ":1}]}"#, "IfEQ"),
    (r#"{"Atomic":[{"Key":"n","Sub":1}]}"#, "Sub"),
    // Wrong types.
    (r#"{"IdempotencyIDs":"id"}"#, "IdempotencyIDs"),
    (r#"{"IdempotencyIDs":[1]}"#, "IdempotencyIDs"),
    (r#"{"IdempotencyIDs":[null]}"#, "IdempotencyIDs"),
    (r#"{"IdempotencyIDs":["id"],"IdempotencyTTL":"60"}"#, "IdempotencyTTL"),
    (r#"{"UnlockID":7,"Unlock":7}"#, "UnlockID"),
    (r#"{"UnlockID":"l","Unlock":true}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":[1]}"#, "Unlock"),
    (r#"{"LockID":{},"LockDur":30}"#, "LockID"),
    (r#"{"LockID":"l","LockDur":"30"}"#, "LockDur"),
    (r#"{"LockID":"l","LockDur":30.5}"#, "LockDur"),
    (r#"{"LockID":"l","LockDur":30,"LockWait":"1"}"#, "LockWait"),
    (r#"{"LockID":"l","LockDur":30,"LockOwner":7}"#, "LockOwner"),
    (r#"{"KVGet":{"Key":"k"}}"#, "KVGet"),
    (r#"{"KVGet":["k"]}"#, "KVGet"),
    (r#"{"KVGet":[null]}"#, "KVGet"),
    (r#"{"KVGet":[{"Key":7}]}"#, "Key"),
    (r#"{"KVSet":[{"Key":"k","Delete":1}]}"#, "Delete"),
    (r#"{"KVSet":[{"Key":"k","Delete":"true"}]}"#, "Delete"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"TTL":"60"}]}"#, "TTL"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"IfVersion":"1"}]}"#, "IfVersion"),
    (r#"{"Atomic":[{"Key":"n","Add":"1"}]}"#, "Add"),
    (r#"{"Atomic":[{"Key":"n","Add":1.5}]}"#, "Add"),
    (r#"{"Atomic":[{"Key":"n","Set":true}]}"#, "Set"),
    (r#"{"Atomic":[{"Key":"n","IfEq":[]}]}"#, "IfEq"),
    // Numbers that do not fit.
    (r#"{"Atomic":[{"Key":"n","Add":9223372036854775808}]}"#, "Add"),
    (r#"{"Atomic":[{"Key":"n","Set":-9223372036854775809}]}"#, "Set"),
    (r#"{"Atomic":[{"Key":"n","IfEq":1e30}]}"#, "IfEq"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"IfVersion":-1}]}"#, "IfVersion"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"IfVersion":18446744073709551616}]}"#, "IfVersion"),
    (r#"{"UnlockID":"l","Unlock":-1}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":18446744073709551616}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":"18446744073709551616"}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":""}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":" 1"}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":"-1"}"#, "Unlock"),
    (r#"{"UnlockID":"l","Unlock":"0x1"}"#, "Unlock"),
    // Limits.
    (r#"{"LockID":"l","LockDur":0}"#, "LockDur"),
    (r#"{"LockID":"l","LockDur":-1}"#, "LockDur"),
    (r#"{"LockID":"l","LockDur":86401}"#, "LockDur"),
    (r#"{"LockID":"l","LockDur":18446744073709551616}"#, "LockDur"),
    (r#"{"UnlockID":"l","Unlock":1,"LockID":"l","LockDur":86401}"#, "LockDur"),
    (r#"{"UnlockID":"m","Unlock":1,"LockID":"l","LockDur":0}"#, "LockDur"),
    (r#"{"LockID":"l","LockDur":30,"LockWait":301}"#, "LockWait"),
    (r#"{"LockID":"l","LockDur":30,"LockWait":-1}"#, "LockWait"),
    (r#"{"IdempotencyIDs":["id"],"IdempotencyTTL":0}"#, "IdempotencyTTL"),
    (r#"{"IdempotencyIDs":["id"],"IdempotencyTTL":2592001}"#, "IdempotencyTTL"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"TTL":0}]}"#, "TTL"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"TTL":-1}]}"#, "TTL"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"TTL":3153600001}]}"#, "TTL"),
    // Fields without the field that they belong to.
    (r#"{"LockID":"l"}"#, "LockDur"),
    (r#"{"LockID":"l","LockWait":30}"#, "LockDur"),
    (r#"{"LockDur":30,"KVGet":[{"Key":"k"}]}"#, "LockDur"),
    (r#"{"LockWait":30,"KVGet":[{"Key":"k"}]}"#, "LockWait"),
    (r#"{"LockOwner":"me","KVGet":[{"Key":"k"}]}"#, "LockOwner"),
    (r#"{"LockID":null,"LockDur":30,"KVGet":[{"Key":"k"}]}"#, "LockDur"),
    (r#"{"Unlock":7,"KVGet":[{"Key":"k"}]}"#, "Unlock"),
    (r#"{"UnlockID":"l","KVGet":[{"Key":"k"}]}"#, "Unlock"),
    (r#"{"IdempotencyTTL":60,"KVGet":[{"Key":"k"}]}"#, "IdempotencyTTL"),
    (r#"{"KVGet":[{}]}"#, "Key"),
    (r#"{"KVSet":[{"Value":1}]}"#, "Key"),
    (r#"{"Atomic":[{"Add":1}]}"#, "Key"),
    (r#"{"Atomic":[{"Key":null,"Add":1}]}"#, "Key"),
    // Not exactly one change.
    (r#"{"KVSet":[{"Key":"k"}]}"#, "KVSet"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"Delete":true}]}"#, "KVSet"),
    (r#"{"KVSet":[{"Key":"k","Value":null,"Delete":true}]}"#, "KVSet"),
    (r#"{"KVSet":[{"Key":"k","Delete":false}]}"#, "KVSet"),
    (r#"{"Atomic":[{"Key":"n","Add":1,"Set":1}]}"#, "Atomic"),
    (r#"{"Atomic":[{"Key":"n","Add":0,"Delete":true}]}"#, "Atomic"),
    (r#"{"Atomic":[{"Key":"n","Set":0,"Delete":true}]}"#, "Atomic"),
    // Given twice.
    (r#"{"KVSet":[{"Key":"k","Value":1},{"Key":"k","Delete":true}]}"#, "KVSet"),
    (r#"{"KVSet":[{"Key":"k","Value":1},{"Key":"\u006b","Value":1}]}"#, "KVSet"),
    (r#"{"LockID":"l","LockDur":30,"LockID":"l"}"#, "LockID"),
    (r#"{"KVGet":[{"Key":"k"}],"KVGet":[{"Key":"k"}]}"#, "KVGet"),
    (r#"{"KVGet":[{"Key":"k"}],"LockID":null,"\u004cockID":null}"#, "LockID"),
    (r#"{"KVSet":[{"Key":"k","Value":1,"Value":1}]}"#, "Value"),
    (r#"{"Atomic":[{"Key":"n","Add":1,"Add":1}]}"#, "Add"),
    (r#"{"KVGet":[{"Key":"k","Key":"k"}]}"#, "Key"),
    // Keys and ids.
    (r#"{"KVGet":[{"Key":""}]}"#, "Key"),
    (r#"{"Atomic":[{"Key":"","Add":1}]}"#, "Key"),
    (r#"{"KVSet":[{"Key":"a\u0000b","Value":1}]}"#, "Key"),
    (r#"{"KVSet":[{"Key":"\ud800","Value":1}]}"#, "Key"),
    (r#"{"Atomic":[{"Key":"\udc00x"}]}"#, "Key"),
    (r#"{"LockID":"","LockDur":30}"#, "LockID"),
    (r#"{"LockID":"\u0000","LockDur":30}"#, "LockID"),
    (r#"{"LockID":"l\udfff","LockDur":30}"#, "LockID"),
    (r#"{"UnlockID":"","Unlock":1}"#, "UnlockID"),
    (r#"{"LockID":"l","LockDur":30,"LockOwner":"\ud800"}"#, "LockOwner"),
    (r#"{"IdempotencyIDs":[""]}"#, "IdempotencyIDs"),
    (r#"{"IdempotencyIDs":["a\u0000"]}"#, "IdempotencyIDs"),
    (r#"{"IdempotencyIDs":["\ud800"]}"#, "IdempotencyIDs"),
    // Nothing asked.
    ("{}", ""),
    (r#"{"KVGet":null}"#, ""),
];

#[tokio::test]
async fn an_invalid_request_names_its_field() {
    let account = shared_account();
    for (body, field) in INVALID {
        let answer = account.db(body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.invalid(field);
    }
    assert_eq!(account.next_revision().await, 1, "none of them was applied");
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let account = shared_account();
    let bodies: &[&[u8]] = &[
        b"",
        b" ",
        b"null",
        b"7",
        b"[]",
        b"\"{}\"",
        b"{",
        b"{\"KVGet\":[{\"Key\":\"k\"}]",
        b"{\"KVGet\":[{\"Key\":\"k\"}]}}",
        b"{\"KVGet\":[{\"Key\":\"k\"}]} x",
        b"{\"KVGet\":[{\"Key\":\"k\"}]}{\"KVGet\":[{\"Key\":\"k\"}]}",
        b"{\"KVGet\":[{\"Key\":\"k\"},]}",
        b"{\"KVGet\":[{\"Key\":\"k\"}],}",
        b"{KVGet:[{\"Key\":\"k\"}]}",
        b"{'KVGet':[{'Key':'k'}]}",
        b"{\"KVGet\":[{\"Key\":\"k\n\"}]}",
        b"{\"KVGet\":[{\"Key\":\"\xff\"}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":\"\xc3\"}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":\"\xed\xa0\x80\"}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":01}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":NaN}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":\"\\x\"}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":[1,2}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":{\"a\" 1}}]}",
        b"{\"KVSet\":[{\"Key\":\"k\",\"Value\":1 // why\n}]}",
        b"\xef\xbb\xbf{\"KVGet\":[{\"Key\":\"k\"}]",
        b"\xff\xfe{\0}\0",
        b"\0",
    ];
    for route in ["db", "watch", "list"] {
        for body in bodies {
            let answer = account.begin(route, body).await.answer().await;
            assert_eq!(answer.status, 400, "{}: {}", String::from_utf8_lossy(body), answer.text());
            answer.invalid("");
        }
    }
    assert_eq!(account.next_revision().await, 1);
}

#[tokio::test]
async fn an_array_is_no_object_even_with_the_fields_in_order() {
    let account = shared_account();
    for (body, field) in [
        (r#"{"KVGet":[["k"]]}"#, "KVGet"),
        (r#"{"KVSet":[["k",1,null,null,null]]}"#, "KVSet"),
        (r#"{"Atomic":[["n",1,null,null,null]]}"#, "Atomic"),
        (r#"[null,null,null,null,null,null,null,null,null,null,[{"Key":"k"}]]"#, ""),
    ] {
        let answer = account.db(body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.invalid(field);
    }
    account.watch(r#"["k",1,0]"#).await.invalid("");
    account.list("[null,null,null,null]").await.invalid("");
    assert_eq!(account.next_revision().await, 1);
}

#[tokio::test]
async fn the_longest_key_has_512_bytes() {
    let account = shared_account();
    let longest = "é".repeat(256);
    for key in [&longest, &"x".repeat(512)] {
        let text = json_text(key);
        for body in [
            format!(r#"{{"KVGet":[{{"Key":{text}}}],"Atomic":[{{"Key":{text}}}]}}"#),
            format!(r#"{{"IdempotencyIDs":[{text}],"LockID":{text},"LockDur":300}}"#),
        ] {
            account.db(body).await.ok();
        }
    }
    let text = json_text(&format!("{longest}x"));
    for (body, field) in [
        (format!(r#"{{"KVGet":[{{"Key":{text}}}]}}"#), "KVGet"),
        (format!(r#"{{"KVSet":[{{"Key":{text},"Value":1}}]}}"#), "KVSet"),
        (format!(r#"{{"Atomic":[{{"Key":{text}}}]}}"#), "Atomic"),
        (format!(r#"{{"LockID":{text},"LockDur":300}}"#), "LockID"),
        (format!(r#"{{"UnlockID":{text},"Unlock":1}}"#), "UnlockID"),
        (format!(r#"{{"IdempotencyIDs":[{text}]}}"#), "IdempotencyIDs"),
    ] {
        account.db(body).await.invalid(field);
    }
    account.watch(format!(r#"{{"ID":{text},"Version":0,"Wait":0}}"#)).await.invalid("ID");
}

#[tokio::test]
async fn invalid_watches_and_lists_name_the_field() {
    let account = shared_account();
    for (body, field) in [
        ("{}", "ID"),
        (r#"{"Key":"k","Version":0}"#, "Key"),
        (r#"{"ID":"","Version":0}"#, "ID"),
        (r#"{"ID":7,"Version":0}"#, "ID"),
        (r#"{"ID":"a\u0000","Version":0}"#, "ID"),
        (r#"{"ID":"\ud800","Version":0}"#, "ID"),
        (r#"{"ID":"k","Version":-1}"#, "Version"),
        (r#"{"ID":"k","Version":"1"}"#, "Version"),
        (r#"{"ID":"k","Version":18446744073709551616}"#, "Version"),
        (r#"{"ID":"k","Version":0,"Wait":301}"#, "Wait"),
        (r#"{"ID":"k","Version":0,"Wait":-1}"#, "Wait"),
        (r#"{"ID":"k","Version":0,"Wait":0.5}"#, "Wait"),
        (r#"{"ID":"k","Version":0,"Version":0}"#, "Version"),
    ] {
        let answer = account.watch(body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.invalid(field);
    }
    for (body, field) in [
        (r#"{"Limit":0}"#, "Limit"),
        (r#"{"Limit":1001}"#, "Limit"),
        (r#"{"Limit":-1}"#, "Limit"),
        (r#"{"Limit":"10"}"#, "Limit"),
        (r#"{"Kind":"kv"}"#, "Kind"),
        (r#"{"Kind":"Everything"}"#, "Kind"),
        (r#"{"Kind":1}"#, "Kind"),
        (r#"{"Prefix":1}"#, "Prefix"),
        (r#"{"Prefix":"\ud800"}"#, "Prefix"),
        (r#"{"After":["a"]}"#, "After"),
        (r#"{"prefix":"a"}"#, "prefix"),
        (r#"{"Prefix":"a","Prefix":"b"}"#, "Prefix"),
    ] {
        let answer = account.list(body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.invalid(field);
    }
}

#[tokio::test]
async fn accounts_have_up_to_128_safe_characters() {
    let account = shared_account();
    let longest = format!("{:A<128}", account.name);
    let valid = ["a", "...", "_", "-", "A.b_c-9", longest.as_str()];
    let too_long = format!("{longest}A");
    let invalid = [".", "..", "a%20b", "a%2Fb", "a%00", "%C3%A9", "a:b", "a+b", "a~b", "a@b", &too_long];
    let bodies = [
        ("db", r#"{"KVGet":[{"Key":"k"}]}"#),
        ("watch", r#"{"ID":"k","Version":1,"Wait":0}"#),
        ("list", r#"{"Limit":1}"#),
    ];
    for (route, body) in bodies {
        for name in valid {
            let named = account.named(name.to_owned());
            assert_eq!(named.begin(route, body).await.answer().await.status, 200, "{name}");
        }
        for name in invalid {
            let named = account.named(name.to_owned());
            let answer = named.begin(route, body).await.answer().await;
            assert_eq!(answer.status, 400, "{name}: {}", answer.text());
            answer.refused(400, "invalid_request", json!({}));
        }
    }
}
