package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.GetOperation;
import clouddragon.client.model.ListRequest;
import clouddragon.client.model.LockState;
import clouddragon.client.model.SetOperation;
import clouddragon.client.model.TransactAnswer;
import clouddragon.client.model.TransactRequest;
import clouddragon.client.model.ValueState;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.IntNode;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** Locks, and what they guard. */
final class Locks {
  private static final String NAME = "nightly";

  private Locks() {}

  static void lockWithWait(Server server) throws Exception {
    String account = server.account();
    DataApi first = server.client();
    DataApi second = server.client();
    long handle = first.transact(account, take("first", 0)).getLock();

    ErrorAnswer held =
        Check.refused(
            409, ErrorCode.LOCK_TIMEOUT, () -> second.transact(account, take("second", 0)));
    Check.equal("first", held.getOwner());
    Check.that(held.getTill() > Instant.now().getEpochSecond(), "Till is in the future");

    CompletableFuture<TransactAnswer> waiting =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return second.transact(account, take("second", 30));
              } catch (ApiException exception) {
                throw new CompletionException(exception);
              }
            });
    while (waitingFor(first, account) != 1) {
      Check.that(!waiting.isDone(), "it waits");
      Thread.sleep(20);
    }
    first.transact(account, giveBack(handle));
    long next = waiting.get(60, TimeUnit.SECONDS).getLock();
    Check.that(next > handle, "a later handle is higher");
    second.transact(account, giveBack(next));
  }

  static void guardedWrite(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    long handle = data.transact(account, take("second", 0)).getLock();

    TransactAnswer written = data.transact(account, guarded(handle, 1));
    Check.equal(handle, written.getLock());
    Check.equal(new IntNode(1), valueOf(data, account));

    data.transact(account, giveBack(handle));
    ErrorAnswer refused =
        Check.refused(409, ErrorCode.NOT_LOCKED, () -> data.transact(account, guarded(handle, 2)));
    Check.equal(NAME, refused.getId());
    Check.equal(new IntNode(1), valueOf(data, account));
  }

  /** Works for longer than the lease. */
  static void heldLonger(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    Thread worker = Thread.currentThread();
    var take = new TransactRequest().lockID("held").lockDur(1).lockOwner("first");
    try (HeldLock lock = HeldLock.take(data, account, take, worker::interrupt)) {
      for (int step = 1; step <= 3 && lock.isHeld(); step++) {
        Thread.sleep(500); // The work.
        var progress = new SetOperation().key("progress").value(new IntNode(step));
        data.transact(account, lock.guard(new TransactRequest().addKvSetItem(progress)));
      }
    }
    // It was given back.
    HeldLock.take(data, account, take, () -> {}).close();
  }

  /** Holds a lock until someone else has given it back. */
  static void heldNoMore(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    var take = new TransactRequest().lockID("held").lockDur(1);
    var lost = new CompletableFuture<Void>();
    HeldLock lock = HeldLock.take(data, account, take, () -> lost.complete(null));
    Check.that(lock.isHeld(), "it is held");
    data.transact(account, new TransactRequest().unlockID("held").unlock(lock.handle()));
    lost.get(10, TimeUnit.SECONDS);
    Check.that(!lock.isHeld(), "it is not held any more");
    Check.refused(409, ErrorCode.NOT_LOCKED, () -> close(lock));
  }

  /** Holds a lock until the server is out of reach, which has to be told before the lease ends. */
  static void heldOutOfReach(Server server) throws Exception {
    var cut = new AtomicBoolean();
    var lost = new CompletableFuture<Void>();
    var take = new TransactRequest().lockID("held").lockDur(1);
    DataApi data = server.client(cut);
    data.list(server.account(), new ListRequest()); // So that the connection is there.
    HeldLock lock = HeldLock.take(data, server.account(), take, () -> lost.complete(null));
    cut.set(true);
    lost.get(1, TimeUnit.SECONDS);
    Check.that(!lock.isHeld(), "it is not held any more");
    Check.fails(ApiException.class, () -> close(lock));
  }

  /** The same request again tells the handle of a lock that was granted to it. */
  static void takenTwice(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    TransactRequest take = take("first", 0).addIdempotencyIDsItem("nightly-1");
    long handle = Retry.once(data, account, take).getLock();
    Check.equal(handle, Retry.once(data, account, take).getLock());
    data.transact(account, giveBack(handle));
  }

  private static Void close(HeldLock lock) throws ApiException {
    lock.close();
    return null;
  }

  private static TransactRequest take(String owner, int wait) {
    return new TransactRequest().lockID(NAME).lockDur(30).lockWait(wait).lockOwner(owner);
  }

  private static TransactRequest giveBack(long handle) {
    return new TransactRequest().unlockID(NAME).unlock(handle);
  }

  /** A write that is applied only while the lock is still held by this handle. */
  private static TransactRequest guarded(long handle, int value) {
    return new TransactRequest()
        .lockID(NAME)
        .unlockID(NAME)
        .unlock(handle)
        .lockDur(0)
        .addKvSetItem(new SetOperation().key("guarded").value(new IntNode(value)));
  }

  private static JsonNode valueOf(DataApi data, String account) throws ApiException {
    var request = new TransactRequest().addKvGetItem(new GetOperation().key("guarded"));
    ValueState state = data.transact(account, request).getKv().get(0);
    return state.getValue();
  }

  private static long waitingFor(DataApi data, String account) throws ApiException {
    var request = new ListRequest().kind(ListRequest.KindEnum.LOCKS);
    return data.list(account, request).getLocks().stream()
        .filter(lock -> lock.getId().equals(NAME))
        .mapToLong(LockState::getWaiting)
        .sum();
  }
}
