//! The committed OpenAPI document is the one that the code describes.

#[test]
fn the_committed_document_is_the_one_that_the_code_describes() {
    let committed = include_str!("../../openapi/cloud-dragon.json");
    assert!(
        committed.trim_end() == cloud_dragon::document().trim_end(),
        "openapi/cloud-dragon.json differs from the code: \
         cargo run -p cloud-dragon -- openapi > openapi/cloud-dragon.json"
    );
}
