//! Numbers and values that come back as they went.

use crate::place::Outcome;
use dragon_client::{Account, Count, Set};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Balance {
    id: u64,
    cents: i64,
}

pub async fn keeps_numbers(account: &Account) -> Outcome {
    for number in [9_007_199_254_740_993, i64::MAX, i64::MIN] {
        assert_eq!(account.count(Count::set("exact", number)).await?, number);
        assert_eq!(account.counter("exact").await?, number);
    }

    let balance = Balance { id: u64::MAX, cents: i64::MIN };
    account.set("balance", &balance).await?;
    assert_eq!(account.get("balance").await?.json::<Balance>()?, Some(balance));
    Ok(())
}

pub async fn keeps_bytes(account: &Account) -> Outcome {
    let text = r#"{"b":1,"a":9007199254740993,"big":123456789012345678901234567890,"d":1.10,"e":"\u00e9"}"#;
    let value = RawValue::from_string(text.to_owned())?;
    account.write(Set::raw("raw", value)).await?;

    let read = account.get("raw").await?.value.ok_or("no value")?;
    assert_eq!(read.get(), text);

    account.set("null", &()).await?;
    let null = account.get("null").await?;
    assert!(null.exists() && null.value.is_some());
    Ok(())
}
