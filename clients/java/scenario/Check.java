package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** What the steps assert with. */
final class Check {
  private Check() {}

  static void that(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  static void equal(Object expected, Object actual) {
    that(Objects.equals(expected, actual), "expected " + expected + ", got " + actual);
  }

  static void fails(Class<? extends Exception> how, Callable<?> what) {
    Object result;
    try {
      result = what.call();
    } catch (Exception exception) {
      that(how.isInstance(exception), "expected " + how + ", got " + exception);
      return;
    }
    throw new AssertionError("expected " + how + ", got " + result);
  }

  /** The server's answer to a request that it must refuse. */
  static ErrorAnswer refused(int status, ErrorCode code, Callable<?> request) throws Exception {
    try {
      throw new AssertionError("not refused but answered " + request.call());
    } catch (ApiException exception) {
      equal(status, exception.getCode());
      ErrorAnswer answer = Errors.answer(exception).orElseThrow(() -> exception);
      equal(code, answer.getCode());
      return answer;
    }
  }

  /** What all of these return, run at the same time. */
  static <T> List<T> together(List<Callable<T>> tasks) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(tasks.size());
    try {
      var results = new ArrayList<T>();
      for (Future<T> task : threads.invokeAll(tasks, 60, TimeUnit.SECONDS)) {
        results.add(task.get());
      }
      return results;
    } finally {
      threads.shutdownNow();
    }
  }
}
