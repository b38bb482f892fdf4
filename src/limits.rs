//! Every limit in one place, with its unit and reason.

use std::time::Duration;

/// Rows are handed on in slices of at most this many bytes, so that a huge transaction streams
/// through. A single row may be larger. 1 MiB: small against memory, large against a frame's head.
pub const SLICE_BYTES_MAX: usize = 1 << 20;

/// Slices between the replication session and the change log, and between the change log and the
/// dataflow. With [`SLICE_BYTES_MAX`] this bounds what is in flight to some 16 MiB a hop.
pub const SLICES_IN_FLIGHT_MAX: usize = 16;

/// Slices taken per fsync and per step of the dataflow: a backlog is worked off in bulk, and still
/// bounded.
pub const SLICES_PER_FLUSH_MAX: usize = 16;

/// Shapes that a start adds to the dataflow at a time, and that end at a time, where a table has many: buffers keep the size
/// of the largest batch.
pub const SHAPES_PER_BATCH_MAX: usize = 1024;

/// Transactions gathered into one slice when the stream is busy (the slice is handed on at once
/// when nothing more has arrived). Bounds what one wake-up costs.
pub const TRANSACTIONS_PER_SLICE_MAX: usize = 1024;

/// Events of the wire crate's channel. Each may hold one row, so few; the crate's own reader runs
/// ahead of us by no more than this.
pub const WIRE_EVENTS_MAX: usize = 256;

/// A change log file is rolled at the first commit beyond this. 64 MiB: recovery reads the last
/// one or two files.
pub const SEGMENT_BYTES_MAX: u64 = or_in_tests(64 << 20, 4 << 10);

/// Changes and bytes that one index entry of a row-wise file stands for, of the same transaction: a
/// reader walks that far. Ten million changes cost 5 MiB.
pub const PLACE_CHANGES_MAX: u32 = 64;

/// See [`PLACE_CHANGES_MAX`].
pub const PLACE_BYTES_MAX: u32 = 8 << 10;

/// Changes of one Arrow block of a sealed file; a block is what one read decodes.
pub const BLOCK_CHANGES_MAX: usize = 4096;

/// Bytes of rows of one Arrow block of a sealed file.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Decoded Arrow blocks kept for readers of sealed files, bytes.
pub const BLOCK_CACHE_BYTES_MAX: u64 = 32 << 20;

/// A posting log file is rolled beyond this: some millions of postings. Those that are mostly dead are
/// written again together, up to this size.
pub const POSTING_FILE_BYTES_MAX: u64 = or_in_tests(16 << 20, 2 << 10);

/// Postings one index entry of a shape log stands for at most: a reader skips inside of a large
/// transaction in steps of this.
pub const POSTINGS_PER_BLOCK_MAX: usize = 4096;

/// Results between the dataflow and the posting log, in messages; each is one transaction.
pub const COLLATED_IN_FLIGHT_MAX: usize = 1024;

/// Results that are appended where they come from, if no more come with them: a write and the position behind it.
pub const APPENDED_HERE_MAX: usize = 4;

/// How long after something was appended its fsync begins: once its readers have it, for which the processors are wanted
/// first. What comes meanwhile shares it.
pub const SYNC_DELAY: Duration = Duration::from_micros(300);

/// Postings of an open transaction that leave the dataflow together: 24 bytes each, 12 MiB. Larger
/// parts make fewer index entries, which each shape keeps for good.
pub const PART_POSTINGS_MAX: usize = 512 << 10;

/// Postings between the dataflow and readable logs, in all; one message with more goes alone. 24 MiB. The same between what
/// keeps rows for subqueries and its logs, where a row that moved counts as the postings that take as much memory.
pub const COLLATED_POSTINGS_MAX: usize = 1 << 20;

/// Postings are made durable at least this often, so that a restart replays little.
pub const POSTING_SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A snapshot pack is rolled beyond this. 64 MiB: one goes when nothing in it is used any more, so
/// it should not hold the rows of too many shapes.
pub const PACK_BYTES_MAX: u64 = or_in_tests(64 << 20, 4 << 10);

/// A pack that is being written is ended when most of it is in use no more, and at least this: what is
/// left is written again, at the cost of a file. 1 MiB: a large download that failed goes, and shapes that
/// come and go share a file.
pub const PACK_DEAD_BYTES_MIN: u64 = or_in_tests(1 << 20, 512);

/// A batch of this size is looked for among those that are stored: equal ones are stored once. 32 KiB: what is
/// known of one takes some hundred bytes of memory, and a million small shapes should not need that.
pub const SHARED_BATCH_BYTES_MIN: u64 = or_in_tests(32 << 10, 256);

/// Bytes of row text of one snapshot batch: what a reader of a running snapshot waits for.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// Bytes of a running snapshot that are stored before they are made durable while more is read: the reader of the
/// last chunk waits for what is left then.
pub const SNAPSHOT_SYNC_BYTES: u64 = 16 << 20;

/// Commits remembered for shapes that are added (which may need transactions that were streamed
/// but are not yet visible); over this Postgres is asked which of them have become visible.
pub const RECENT_COMMITS_MAX: usize = 16_384;

/// A commit that is so much older than the newest in time, and by so many bytes of WAL, too, is taken for visible to everybody
/// when a process begins: only a synchronous standby holds one up, and a weekend is long for that. Before 2^31
/// transaction ids, beyond which a commit's own means nothing, both have passed: each id costs eight bytes of WAL at the
/// very least, and nobody gives 8,000 a second for three days.
pub const UNSEEN_TIME_MAX: Duration = Duration::from_secs(3 * 24 * 3600);
/// See [`UNSEEN_TIME_MAX`].
pub const UNSEEN_WAL_MAX: u64 = 16 << 30;

/// A chunk of log or snapshot is complete at this many bytes, unless configured.
pub const CHUNK_BYTES_DEFAULT: u64 = 10 << 20;

/// A chunk is never configured larger: a log keeps its size in four bytes, and there may be a million logs.
pub const CHUNK_BYTES_MAX: u64 = u32::MAX as u64;

/// Weight of a log entry beyond its rows' bytes, for chunk ends: key, headers, punctuation.
pub const ENTRY_OVERHEAD_BYTES: u64 = 200;

/// How long a live request waits, unless configured.
pub const LONG_POLL_DEFAULT: Duration = Duration::from_secs(20);

/// Shapes that are made for one request if each ends before it has begun: more is somebody who empties the
/// table all the time.
pub const SHAPE_TRIES: usize = 5;

/// How long a request waits for the first row of a new shape's snapshot.
pub const SNAPSHOT_START_MAX: Duration = Duration::from_secs(45);

/// How long a reader waits for more rows of a running snapshot before it gives up.
pub const SNAPSHOT_STALL_MAX: Duration = Duration::from_secs(90);

/// How long preparing a table may wait for its lock before other writers queue behind us. Tried
/// again with pauses, see [`TABLE_LOCK_TRIES`].
pub const TABLE_LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// Tries to lock a table before the request is told to come again.
pub const TABLE_LOCK_TRIES: u32 = 40;

/// How long a new shape waits for writers that were already at work on its table.
pub const TABLE_WRITERS_MAX: Duration = Duration::from_secs(30);

/// The catalogue is asked at this interval whether tables are still what they were. One query for
/// all of them; a table that changes and is written to is noticed at once, by the stream.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(10);

/// For how long what the server says of a time zone is taken for true: it changes with packages of the
/// machine, and asking takes a second.
pub const ZONE_AGE_MAX: Duration = Duration::from_secs(3_600);

/// For how long the server's C library is taken to compute as it did when it was asked: another one needs another
/// machine or a restart, and asking takes some milliseconds.
pub const MATHEMATICS_AGE_MAX: Duration = Duration::from_secs(5);

/// How long after a table is announced again the catalogue is asked.
pub const RECONCILE_PAUSE: Duration = Duration::from_millis(500);

/// How long after each other all of a table is looked at for new shapes, while more are made at a time than one look
/// serves: it takes Postgres some 0.4 ms, and would be asked without a break else where no look can be kept.
pub const INSPECT_PAUSE: Duration = Duration::from_millis(2);

/// Zeros ahead of the catalogue's records: room for some hundred finished shapes, whose fsyncs then do not make the file
/// longer.
pub const CATALOG_ZEROS: usize = 256 << 10;

/// New shapes of one template that share a snapshot: planning one of them takes Postgres 17 µs then instead of 60, and
/// more of them save no more.
pub const SHARED_SNAPSHOT_SHAPES_MAX: usize = 32;

/// How often all others have their turn before a shared snapshot begins: requests that have come are read by then, and take
/// part. It takes who makes one shape some microseconds; 32 clients made about a tenth more.
pub const SHARED_SNAPSHOT_TURNS: usize = 5;

/// Rows of a shape that shares a snapshot; with more it takes one of its own, so that no others wait for it.
pub const SHARED_SNAPSHOT_ROWS_MAX: usize = 256;

/// Bytes of rows of a shared snapshot, kept until they are dealt out.
pub const SHARED_SNAPSHOT_BYTES_MAX: usize = 4 << 20;

/// Bytes of a filter that shares a snapshot: longer ones take longer to plan.
pub const SHARED_SNAPSHOT_FILTER_BYTES_MAX: usize = 1 << 10;

/// A template's snapshots are shared as long as those of few rows take no longer than this, rows included.
pub const SHARED_SNAPSHOT_QUICK: Duration = Duration::from_millis(20);

/// How long the rows of a shared snapshot may take Postgres; then each shape takes one of its own.
pub const SHARED_SNAPSHOT_TIME_MAX: Duration = Duration::from_millis(250);

/// How long the shapes of a template take their snapshots alone after a shared one came to nothing: where each is quick
/// and many are not, that should not be found out again and again.
pub const SHARED_SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// Reconnect back-off to Postgres, first and longest pause.
pub const RECONNECT_PAUSE: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(10));

/// A connection for statements that has been silent for so long is asked whether the other side is still there. With the
/// two below a host that vanished is noticed within a minute.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// How long after each other it is asked again.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is asked in vain.
pub const KEEPALIVE_RETRIES: u32 = 3;

/// How long what such a connection has sent may go unacknowledged: as long as that is so, nobody asks as above, and the
/// system alone would send it again for some 15 minutes.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// How long a clean stop waits for each of its parts.
pub const STOP_MAX: Duration = Duration::from_secs(3);

/// How long a clean stop waits for the rows of subqueries to be written, of which there may be a gigabyte. Without them the
/// next start takes longer, so this may be longer than others; a deployment's own patience is 10 s or more.
pub const STOP_CHECKPOINT_MAX: Duration = Duration::from_secs(8);

/// A start that finds its slot in use waits this long for the old connection to go.
pub const SLOT_BUSY_MAX: Duration = Duration::from_secs(15);

/// After how long the log says who the making of a slot waits for, and how long after each other it says so again.
pub const SLOT_WAIT_TOLD: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// Characters of somebody else's statement that the log shows: enough to know whose it is.
pub const QUERY_CHARS_SHOWN: usize = 100;

/// Standby status updates go out at least this often. Postgres drops a silent receiver after
/// `wal_sender_timeout`, 60 s by default.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Idle positions are logged and confirmed at most this often: each costs an fsync.
pub const IDLE_POSITION_INTERVAL: Duration = Duration::from_secs(1);

/// Shapes that may be in creation at once; the rest is told to come again.
pub const CREATIONS_MAX: usize = 10_000;

/// Entries that have just been written are read and encoded without a change of threads if they weigh no more: they are in
/// the system's memory still, and take some 20 µs.
pub const READ_HERE_BYTES_MAX: u64 = 16 << 10;

/// JSON is handed to the socket in pieces of about this size.
pub const BODY_PIECE_BYTES: usize = 64 << 10;

/// Pieces of a subset that may wait for its client: of [`BODY_PIECE_BYTES`] and at most twice that 8 MiB, so that a slow
/// client seldom keeps a transaction open.
pub const SUBSET_PIECES: usize = 128;

/// How long a subset may take to its first row.
pub const SUBSET_START_MAX: Duration = Duration::from_secs(30);

/// How long a subset may take altogether: its transaction holds a connection, and Postgres' cleaning
/// back.
pub const SUBSET_MAX: Duration = Duration::from_secs(60);

/// How long a stream of events stays open. Caches keep it a second less.
pub const EVENTS_MAX: Duration = Duration::from_secs(60);

/// Answers that a client may say it has: caches name one, and whoever waits keeps them.
pub const KNOWN_TAGS_MAX: usize = 16;

/// A stream of events is never silent for longer: proxies close silent connections.
pub const EVENTS_KEEP_ALIVE: Duration = Duration::from_secs(21);

/// Reads of the log, of [`BODY_PIECE_BYTES`] or one row, between it and a stream's socket, beside the one that waits to go there.
pub const EVENT_READS_IN_FLIGHT_MAX: usize = 1;

/// Bytes of a POST's body.
pub const BODY_BYTES_MAX: usize = 8_000_000;

/// How long a POST's body may take to arrive.
pub const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// Bytes of a request's first line and headers; more is answered with 431. The HTTP library allows
/// 64 KiB for the URL alone and answers more with 414.
pub const HEAD_BYTES_MAX: usize = 128 << 10;

/// Headers of a request; more is answered with 431.
pub const HEADERS_MAX: usize = 100;

/// How long a connection may be silent before and between requests, and take to send a request's
/// head. Longer than the idle time of the usual proxies in front (60 s), which otherwise send a
/// request into a connection that is just being closed.
pub const HEAD_READ_MAX: Duration = Duration::from_secs(120);

/// A client that takes nothing for this long while there is something to send is cut off.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// One that takes a little now and then is cut off after this long: its answer takes one of the places of
/// requests. A chunk of the usual size comes through at 3 KB/s.
pub const ANSWER_MAX: Duration = Duration::from_secs(3600);

/// How long a request waits for a server that starts over.
pub const READY_MAX: Duration = Duration::from_secs(5);

/// Requests answered at once, unless configured: those that may make a shape, and those of shapes
/// that exist. Each waiting request costs a few KiB.
pub const REQUESTS_DEFAULT: (usize, usize) = (300, 10_000);

/// Seconds after which a request that was one too many may come again: so many, and up to so many
/// more.
pub const OVERLOAD_PAUSE: (u32, u32) = (5, 6);

/// Descriptors that no client gets: sockets to Postgres beside the pool's, what listens, the files being written and their
/// successors. Some 30 are in use by a server without data.
pub const DESCRIPTORS_KEPT_MIN: usize = 64;

/// No client gets one descriptor of so many either: each 64 MiB of changes and rows and each 16 MiB of postings on disk is
/// an open file.
pub const DESCRIPTORS_KEPT_SHARE: usize = 4;

/// Descriptors that are asked for where the system has no limit: as many as every system gives.
pub const DESCRIPTORS_WANTED: u64 = 10_240;

/// Connections that may be open in any case.
pub const CONNECTIONS_MIN: usize = 16;

/// How long after each other the log says that no more connections are accepted.
pub const CONNECTIONS_FULL_TOLD: Duration = Duration::from_secs(60);

/// Connections of the metrics' port that are served at once; it asks for no secret, and few scrape.
pub const SCRAPES_MAX: usize = 8;

/// How long one of those may take from its beginning to its end: it is one short answer.
pub const SCRAPE_MAX: Duration = Duration::from_secs(10);

/// How often recorded metrics are folded together: what lies between is kept value by value.
pub const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Encoded JSON kept for other readers of the same, bytes: what clients of busy shapes wait for, and
/// the snapshots that many load at once.
pub const ENCODED_CACHE_BYTES_MAX: u64 = 64 << 20;

/// Messages of the newest changes kept for other shapes that show the same of them: who waits for a change asks
/// within moments. 72 bytes each while there is none.
pub const SHARED_MESSAGES_MAX: usize = 256;

/// Bytes of one such message, and of its row: 16 MiB in all.
pub const SHARED_MESSAGE_BYTES_MAX: u32 = 64 << 10;

/// Entries of a slice whose messages are shared: a longer one is asked for by somebody who catches up.
pub const SHARED_SLICE_ENTRIES_MAX: u32 = 64;

/// How often shapes are counted against their limit.
pub const EVICT_INTERVAL: Duration = Duration::from_secs(2);

/// Shapes that are looked at for one that may end, where somebody waits for those that were asked for the longest ago: a
/// few milliseconds, and the next round goes on behind them.
pub const EVICT_LOOKS_MAX: usize = 4096;

/// A table may be announced by a transaction that the catalogue does not show yet. The stream waits
/// for it so often and so long: a commit is mostly visible in less than a millisecond.
pub const UNSETTLED_TRIES: u32 = 5;

/// See [`UNSETTLED_TRIES`].
pub const UNSETTLED_PAUSE: Duration = Duration::from_millis(10);

/// How often the catalogue is asked again where a synchronous standby holds a commit up.
pub const UNSETTLED_INTERVAL: Duration = Duration::from_millis(500);

/// How long Postgres may take to let the stream begin, a dozen round trips, before we connect anew: it says so before
/// it reads any WAL.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// How long nothing may come before Postgres is asked whether the stream is still there: a peer that went without a
/// word would be waited for until TCP gives up, a quarter of an hour or so.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long the catalogue may take to say where a table's changes go, before the stream connects
/// anew.
pub const CATALOGUE_MAX: Duration = Duration::from_secs(30);

/// A log is folded once its entries weigh more than twice the shape's rows, but not before this many
/// bytes: what a new client loads beside the rows.
pub const FOLD_BYTES_MIN: u64 = 1 << 20;

/// How often is looked for logs to fold and bases to retire. A round costs a query.
pub const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// A shape is folded at most this often.
pub const FOLD_PAUSE: Duration = Duration::from_secs(30);

/// A log that cannot be folded is tried again after [`FOLD_INTERVAL`], then after twice as long each time, up to this. Five
/// minutes: a disk that was full for a while is well again by then; rows that are damaged are not, and each try reads
/// and writes as far as they come.
pub const FOLD_RETRY_MAX: Duration = Duration::from_secs(300);

/// How long the stream may take to bring what Postgres shows, before a round is put off.
pub const FOLD_SNAPSHOT_WAIT: Duration = Duration::from_secs(10);

/// A base says of so many transactions, after the last one that Postgres showed, which it contains.
pub const FOLD_XIDS_MAX: u64 = 10_000;

/// For how long a base and the entries behind it are kept after two newer ones were made: downloads
/// that have begun come to an end.
pub const FOLD_GRACE: Duration = Duration::from_secs(600);

/// For how long the entries from before the newest base are kept, unless configured: clients that
/// were away go on where they were.
pub const CATCH_UP_WINDOW_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// Keys of rows in memory while a shape's rows are gathered; with more entries the log is gone
/// through several times.
pub const HELD_KEYS_MAX: usize = 1 << 20;

/// Bytes of such keys, likewise: the key of a table without one is the whole row.
pub const HELD_BYTES_MAX: usize = or_in_tests(256 << 20, 1 << 10) as usize;

/// Bytes of a key beside its text: where its last row is, and its place in a table that is half full.
pub const HELD_KEY_BYTES: usize = 128;

/// How often is looked for what can be deleted from disk, unless configured. A round goes through the
/// places of all entries.
pub const RETENTION_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// The catalogue is written again once more of it is dead than alive, but not for fewer bytes: a start
/// reads it in a moment anyway.
pub const CATALOG_DEAD_BYTES_MIN: u64 = or_in_tests(4 << 20, 256);

/// Bytes of records that came while the catalogue was looked through, and are read while everybody waits: a few dozen,
/// a tenth of a millisecond. What is more is read before, while others go on.
pub const CATALOG_HELD_BYTES_MAX: u64 = or_in_tests(16 << 10, 2 << 10);

/// Shapes on one page of the list of all.
pub const LISTED_SHAPES_MAX: usize = 1000;

/// The least storage limit: the newest files of each kind are never deleted.
pub const STORAGE_LIMIT_MIN: u64 = 128 << 20;

/// Bytes of a table's rows in memory while they are compared with what a shape holds, after the slot
/// was lost; what is more is compared in parts, the table being read once for each.
pub const REPAIR_BYTES_MAX: usize = 128 << 20;

/// Bytes of the stream that wait for the thread of subqueries: so long as it is busy with a large transaction nobody else waits.
pub const MEMBERS_BEHIND_BYTES_MAX: usize = 128 << 20;

/// What a part of the stream counts there at least: its messages, and a place among those that wait.
pub const MEMBERS_PART_BYTES: usize = 1 << 10;

/// Messages to that thread that can wait: more parts than fit into those bytes, with what shapes that come and go have to say.
pub const MEMBERS_INPUTS_MAX: usize = (MEMBERS_BEHIND_BYTES_MAX / MEMBERS_PART_BYTES) * 2;

/// How long the stream waits for that thread while nothing gets done: then what it misses is too much, and its shapes end. The
/// rest of the stream, and the slot, stand still meanwhile.
pub const MEMBERS_STALL_MAX: Duration = Duration::from_secs(10);

/// What a row in a map costs beside its bytes.
pub const ROW_OVERHEAD_BYTES: usize = 96;

/// For how long Postgres may refuse to have the rows read that shapes with subqueries need after a start, before the shapes end:
/// as long as they wait, the change log grows. Five minutes: a lock, or connections that are taken, are gone by then.
pub const RESTORE_MAX: Duration = Duration::from_secs(300);

/// What a row operation that is held for shapes with subqueries costs beside its rows' bytes, by estimate: its place with
/// the room behind it (176), for each of its rows an allocation, and while it is summed up what is kept of the row
/// once more, with places in two maps and a list (some 300 in all).
pub const HELD_CHANGE_BYTES: usize = 512;

/// How long a look at the engine may wait for its turn among the changes.
pub const ENGINE_VIEW_MAX: Duration = Duration::from_secs(10);

/// Entries that a repair brings a shape as one transaction, and so in one frame of the posting log:
/// 1.6 MB. More are several, as long as there are places for them.
pub const REPAIR_POSTINGS_MAX: usize = 1 << 16;

/// Transactions of a repair for one shape, at most; they take as many places in the stream before the
/// new slot's begin.
pub const REPAIR_TRANSACTIONS_MAX: u64 = 32;

/// Handles of shapes whose snapshot Postgres refused half way, of which their readers have still to be
/// told; who comes later learns it from a new snapshot.
pub const REFUSED_HANDLES_MAX: usize = 1_000;

/// The limit, or a small one where our own tests must reach it.
const fn or_in_tests(limit: u64, small: u64) -> u64 {
    if cfg!(test) { small } else { limit }
}

/// How long a shape with subqueries waits for the stream before it has Postgres write something: where
/// nobody writes, the position may stand right before what has to be passed.
pub const NUDGE_AFTER: Duration = Duration::from_millis(500);

/// Bytes of memory for the rows of tables that shapes with subqueries are about, unless configured: some
/// eight million rows of a hundred bytes.
pub const SUBQUERY_BYTES_DEFAULT: u64 = 1 << 30;
