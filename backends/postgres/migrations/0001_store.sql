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

-- Takes a lane's lock for this session, unless it does not get it within lock_timeout. Tells whether another
-- session had it.
CREATE FUNCTION lock_lane(lock_class integer, lock_number integer, OUT is_locked boolean, OUT has_waited boolean)
LANGUAGE plpgsql AS $$
BEGIN
    is_locked := pg_try_advisory_lock(lock_class, lock_number);
    has_waited := NOT is_locked;
    IF has_waited THEN
        BEGIN
            PERFORM pg_advisory_lock(lock_class, lock_number);
            is_locked := true;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END IF;
END
$$;

-- Reads cells of any lanes: after a first row with the time, one row for each that is there, by its place in
-- `names`, from 1. Of each at most `lengths` bytes; none of those that come after `bytes_max` bytes (NULL
-- instead).
CREATE FUNCTION read_cells(lanes smallint[], names bytea[], lengths integer[], bytes_max bigint)
RETURNS TABLE (place bigint, content bytea, now_ms bigint)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT 0::bigint, NULL::bytea, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    RETURN QUERY
        SELECT found.place, CASE WHEN found.bytes_before < bytes_max THEN
                CASE WHEN found.length < found.whole
                    THEN substring(found.content FROM 1 FOR found.length)
                    ELSE found.content END
            END, NULL::bigint
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

-- What follows is made for each lane, of its own tables: so no statement looks at the other lanes'.
DO $make$
DECLARE
    read_lane text := $template$
-- Reads cells of one lane for a batch, as read_cells does; but with a `lock_class` it takes that lane's lock
-- first. Each statement in here sees what was committed before it began (READ COMMITTED), so what is read is
-- not older than the lock.
CREATE FUNCTION read_lane_{lane}(names bytea[], bytes_max bigint, lock_class integer, lock_number integer)
RETURNS TABLE (place bigint, content bytea, now_ms bigint, is_locked boolean, has_waited boolean)
LANGUAGE plpgsql AS $$
DECLARE
    lock record;
BEGIN
    IF lock_class IS NOT NULL THEN
        SELECT * INTO lock FROM lock_lane(lock_class, lock_number);
    ELSE
        SELECT false AS is_locked, false AS has_waited INTO lock;
    END IF;
    RETURN QUERY SELECT 0::bigint, NULL::bytea,
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, lock.is_locked, lock.has_waited;
    RETURN QUERY
        SELECT found.place, CASE WHEN found.bytes_before < bytes_max THEN found.content END,
            NULL::bigint, NULL::boolean, NULL::boolean
        FROM (
            SELECT wanted.place, cell.content,
                sum(octet_length(cell.content)) OVER (ORDER BY wanted.place
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                    - octet_length(cell.content) AS bytes_before
            FROM unnest(names) WITH ORDINALITY AS wanted (name, place)
            CROSS JOIN LATERAL (
                SELECT cell.content FROM cell_{lane} AS cell WHERE cell.name = wanted.name
                OFFSET 0 -- kept as it is: each by the index
            ) AS cell
        ) AS found;
END
$$
$template$;
    commit_batch text := $template$
-- Commits a batch that was decided on rows that were read before, in one SERIALIZABLE transaction of its
-- own: so no frontend that stalls can hold it open. Answers 1 when it is committed. Nothing has happened
-- otherwise: 2 when one of the accounts is not as it was `seen` (NULL: it had no row), 3 when
-- `old_sequence` is not the number of this frontend's last batch any more.
-- The lock, if there is one, passes from the session to the transaction, and so is free when this is
-- committed.
CREATE PROCEDURE commit_batch_{lane}(
    INOUT result integer,
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
DECLARE
    updated bigint;
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
            (SELECT cell.content FROM cell_{lane} AS cell WHERE cell.name = account.name)
    ) THEN
        result := 2;
        RETURN;
    END IF;
    UPDATE batch_{lane} SET sequence = new_sequence
    WHERE frontend = of_frontend AND sequence = old_sequence;
    IF NOT FOUND THEN
        result := 3;
        RETURN;
    END IF;
    -- Most rows are there already. (ON CONFLICT DO UPDATE would lock each row first, and log that.)
    UPDATE cell_{lane} AS cell SET content = written.content, sweep_at_ms = written.sweep_at_ms
    FROM unnest(kept, contents, sweeps_at_ms) AS written (name, content, sweep_at_ms)
    WHERE cell.name = written.name;
    GET DIAGNOSTICS updated = ROW_COUNT;
    IF updated < cardinality(kept) THEN
        INSERT INTO cell_{lane} (lane, name, content, sweep_at_ms)
        SELECT {lane}, written.name, written.content, written.sweep_at_ms
        FROM unnest(kept, contents, sweeps_at_ms) AS written (name, content, sweep_at_ms)
        ON CONFLICT (name, lane) DO NOTHING; -- updated just now
    END IF;
    IF cardinality(deleted) > 0 THEN
        DELETE FROM cell_{lane} AS cell WHERE cell.name = ANY (deleted);
    END IF;
    result := 1;
END
$$
$template$;
BEGIN
    FOR lane IN 0..3 LOOP
        EXECUTE replace(read_lane, '{lane}', lane::text);
        EXECUTE replace(commit_batch, '{lane}', lane::text);
    END LOOP;
END
$make$;
