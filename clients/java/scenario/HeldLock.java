package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.TransactAnswer;
import clouddragon.client.model.TransactRequest;
import java.io.IOException;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A lock that is extended by threads of its own until it is closed, which gives it back. It can be
 * copied, with Retry.java.
 */
final class HeldLock implements AutoCloseable {
  private final DataApi data;
  private final String account;
  private final String id;
  private final long handle;
  private final int seconds;
  private final long lease;
  private final Runnable whenLost;
  private final ExecutorService threads = Executors.newCachedThreadPool(HeldLock::daemon);

  /** Until when the lock is safely held, by this process's own clock. */
  private volatile long heldUntil;

  private HeldLock(
      DataApi data, String account, TransactRequest request, long handle, Runnable whenLost) {
    this.data = data;
    this.account = account;
    this.id = request.getLockID();
    this.handle = handle;
    this.seconds = request.getLockDur();
    this.lease = TimeUnit.SECONDS.toNanos(seconds);
    this.whenLost = whenLost;
  }

  /** Takes the lock that the request tells of, and runs whenLost once, if it is lost. */
  static HeldLock take(DataApi data, String account, TransactRequest request, Runnable whenLost)
      throws ApiException, IOException, InterruptedException {
    request.idempotencyIDs(Set.of(UUID.randomUUID().toString()));
    long sent = System.nanoTime();
    long handle = Retry.once(data, account, request).getLock();
    var lock = new HeldLock(data, account, request, handle, whenLost);
    lock.keepFrom(sent);
    return lock;
  }

  /** It goes along with what is written elsewhere, where a lower one is refused. */
  long handle() {
    return handle;
  }

  /** Whether the lock is held. To be asked before each step of the work. */
  boolean isHeld() {
    return System.nanoTime() - heldUntil < 0;
  }

  /** Makes a request one that is applied only while this lock is held. */
  TransactRequest guard(TransactRequest request) {
    return request.lockID(id).unlockID(id).unlock(handle).lockDur(0);
  }

  /** Gives the lock back. It is refused when the lock was lost. */
  @Override
  public void close() throws ApiException {
    threads.shutdownNow();
    data.transact(account, new TransactRequest().unlockID(id).unlock(handle));
  }

  private void keepFrom(long sent) throws ApiException {
    if (System.nanoTime() - sent > lease / 3) {
      // It took a while until the handle was known, and how much of the lease is left is not.
      sent = System.nanoTime();
      data.transact(account, extension());
    }
    long next = sent + lease / 3;
    extendedAt(sent);
    threads.execute(() -> keep(next));
  }

  /** Extends the lease at each third of it. */
  private void keep(long next) {
    try {
      while (true) {
        long now = System.nanoTime();
        TimeUnit.NANOSECONDS.sleep(Math.min(next - now, heldUntil - now));
        if (!isHeld()) {
          break;
        }
        long sent = System.nanoTime();
        boolean isExtended = extend(sent, Math.min(lease / 3, heldUntil - sent));
        next = isExtended ? sent + lease / 3 : System.nanoTime() + lease / 30;
      }
    } catch (InterruptedException closed) {
      return;
    }
    whenLost.run();
  }

  /** Extends the lease, if that takes no longer than so many nanoseconds. */
  private boolean extend(long sent, long atMost) throws InterruptedException {
    Future<TransactAnswer> extending = threads.submit(() -> data.transact(account, extension()));
    try {
      extending.get(atMost, TimeUnit.NANOSECONDS);
      extendedAt(sent);
      return true;
    } catch (TimeoutException exception) {
      return false;
    } catch (ExecutionException exception) {
      if (exception.getCause() instanceof ApiException refusal
          && Errors.is(ErrorCode.NOT_LOCKED, refusal)) {
        heldUntil = sent;
      }
      return false;
    } finally {
      extending.cancel(true);
    }
  }

  private TransactRequest extension() {
    return new TransactRequest().lockID(id).unlockID(id).unlock(handle).lockDur(seconds);
  }

  /** Notes an extension by the moment before it was sent: the lease ends not before that. */
  private void extendedAt(long sent) {
    heldUntil = sent + lease - lease / 20;
  }

  private static Thread daemon(Runnable task) {
    var thread = new Thread(task, "lock");
    thread.setDaemon(true);
    return thread;
  }
}
