-- One schema holds one store. Names are looked up in the session's search_path, which is this schema.
--
-- Everything is parted by lane, as the batches are: SERIALIZABLE tells conflicts by pages of tables and
-- indexes, and those of two lanes are never the same.

-- The cells: what they are called and what they hold is the business of the program (dragon-core).
CREATE TABLE cell (
    lane smallint NOT NULL,
    name bytea NOT NULL,
    content bytea NOT NULL,
    sweep_at_ms bigint,
    PRIMARY KEY (name, lane)
) PARTITION BY LIST (lane);

CREATE INDEX cell_sweep_at_ms ON cell (sweep_at_ms) WHERE sweep_at_ms IS NOT NULL;

-- The last batch of each frontend in each lane, by which a COMMIT of unknown fate is settled.
CREATE TABLE batch (
    lane smallint NOT NULL,
    frontend uuid NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (frontend, lane)
) PARTITION BY LIST (lane);

-- Who serves this store, and when each was last heard of.
CREATE TABLE frontend (
    id uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

DO $$
BEGIN
    FOR lane IN 0..3 LOOP
        -- Room in each page, so that a row that is written again and again stays in its page (a HOT
        -- update). Values are not compressed: only the beginning of a row is read to tell its version.
        EXECUTE format(
            'CREATE TABLE cell_%1$s PARTITION OF cell FOR VALUES IN (%1$s)
             WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05,
                   autovacuum_vacuum_insert_scale_factor = 0.1)', lane);
        EXECUTE format('ALTER TABLE cell_%s ALTER COLUMN content SET STORAGE EXTERNAL', lane);
        EXECUTE format(
            'CREATE TABLE batch_%1$s PARTITION OF batch FOR VALUES IN (%1$s)
             WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000)', lane);
    END LOOP;
END
$$;

-- Reads cells: after a first row with the time, one row for each that is there, by its place in `names`,
-- from 1. Of each at most `lengths` bytes; none of those that come after `bytes_max` bytes (NULL instead).
-- With a `lock_class` it takes that advisory lock first, for this session, unless it does not get it within
-- lock_timeout. Each statement in here sees what was committed before it began (READ COMMITTED), so what is
-- read is not older than the lock.
CREATE FUNCTION read_cells(
    lanes smallint[],
    names bytea[],
    lengths integer[],
    bytes_max bigint,
    lock_class integer,
    lock_number integer
) RETURNS TABLE (place bigint, content bytea, now_ms bigint, is_locked boolean)
LANGUAGE plpgsql AS $$
DECLARE
    got boolean := false;
BEGIN
    IF lock_class IS NOT NULL THEN
        BEGIN
            PERFORM pg_advisory_lock(lock_class, lock_number);
            got := true;
        EXCEPTION WHEN lock_not_available THEN
            got := false;
        END;
    END IF;
    RETURN QUERY SELECT 0::bigint, NULL::bytea,
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, got;
    RETURN QUERY
        SELECT found.place, CASE WHEN found.bytes_before < bytes_max THEN
                CASE WHEN found.length < found.whole
                    THEN substring(found.content FROM 1 FOR found.length)
                    ELSE found.content END
            END, NULL::bigint, NULL::boolean
        FROM (
            SELECT wanted.place, cell.content, wanted.length, octet_length(cell.content) AS whole,
                sum(least(octet_length(cell.content), wanted.length)) OVER (ORDER BY wanted.place
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                    - least(octet_length(cell.content), wanted.length) AS bytes_before
            FROM unnest(lanes, names, lengths)
                WITH ORDINALITY AS wanted (lane, name, length, place)
            CROSS JOIN LATERAL (
                SELECT cell.content FROM cell WHERE cell.lane = wanted.lane AND cell.name = wanted.name
                OFFSET 0 -- kept as it is: each by the index
            ) AS cell
        ) AS found;
END
$$;

-- Commits a batch that was decided on rows that were read before, in one SERIALIZABLE transaction of its
-- own: so no frontend that stalls can hold it open. Answers 1 when it is committed. Nothing has happened
-- otherwise: 2 when one of the accounts is not as it was `seen` (NULL: it had no row), 3 when
-- `old_sequence` is not the number of this frontend's last batch any more.
-- The lock, if there is one, passes from the session to the transaction, and so is free when this is
-- committed.
CREATE PROCEDURE commit_batch(
    INOUT result integer,
    in_lane smallint,
    lock_class integer,
    lock_number integer,
    accounts bytea[],
    seen bytea[],
    kept bytea[],
    contents bytea[],
    sweeps_at_ms bigint[],
    deleted bytea[],
    of_frontend uuid,
    old_sequence bigint,
    new_sequence bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
    IF lock_class IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(lock_class, lock_number);
        PERFORM pg_advisory_unlock_all();
    END IF;
    -- A subquery for each account, so that no plan can be made but the look-up of each by the index.
    IF EXISTS (
        SELECT FROM unnest(accounts, seen) AS account (name, content)
        WHERE account.content IS DISTINCT FROM
            (SELECT cell.content FROM cell WHERE cell.lane = in_lane AND cell.name = account.name)
    ) THEN
        result := 2;
        RETURN;
    END IF;
    UPDATE batch SET sequence = new_sequence
    WHERE lane = in_lane AND frontend = of_frontend AND sequence = old_sequence;
    IF NOT FOUND THEN
        result := 3;
        RETURN;
    END IF;
    INSERT INTO cell (lane, name, content, sweep_at_ms)
    SELECT in_lane, name, content, sweep_at_ms FROM unnest(kept, contents, sweeps_at_ms)
        AS written (name, content, sweep_at_ms)
    ON CONFLICT (name, lane) DO UPDATE SET content = excluded.content, sweep_at_ms = excluded.sweep_at_ms;
    DELETE FROM cell WHERE lane = in_lane AND name = ANY (deleted);
    result := 1;
END
$$;
