//! A row in pieces: a value of FoundationDB has at most 100,000 bytes. The first piece begins with the number
//! of the further ones. An account's own row has none; there the number is 1 once any row of the account was
//! in several pieces, so that in all others nobody has to look for pieces that a new row leaves behind.

/// Bytes of a row in one piece: 10 % below the limit.
pub(crate) const PIECE_BYTES: usize = 90_000;

/// The pieces of a row: the first, with the number before it, and the further ones.
pub(crate) fn cut(row: &[u8]) -> (Vec<u8>, impl Iterator<Item = (u8, &[u8])>) {
    let (first, rest) = row.split_at(row.len().min(PIECE_BYTES));
    let further = rest.chunks(PIECE_BYTES);
    let head = [&[further.len() as u8], first].concat();
    (head, (1..).zip(further))
}

/// How many further pieces a row is cut into.
pub(crate) fn further_pieces(row: &[u8]) -> u8 {
    (row.len().max(1) - 1).div_euclid(PIECE_BYTES) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_put_together() {
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * PIECE_BYTES + 1).collect();
        for len in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, bytes.len(), 1 << 18] {
            let row = &bytes[..len.min(bytes.len())];
            let (head, further) = cut(row);
            let further: Vec<(u8, &[u8])> = further.collect();
            assert_eq!(usize::from(head[0]), further.len());
            assert_eq!(further_pieces(row), head[0]);
            assert!(further.iter().map(|(number, _)| *number).eq(1..=head[0]));
            let whole =
                [&head[1..], &further.iter().flat_map(|(_, piece)| *piece).copied().collect::<Vec<u8>>()]
                    .concat();
            assert!(whole == row, "{len}");
        }
    }
}
