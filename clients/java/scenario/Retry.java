package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.TransactAnswer;
import clouddragon.client.model.TransactRequest;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/** Requests that happen once however often they are sent. It can be copied, with Errors.java. */
final class Retry {
  /** How long a request is sent again, on top of what it waits itself. */
  private static final int SECONDS = 30;

  private static final long LONGEST_PAUSE = 5000;
  private static final ObjectMapper MAPPER = ExactJson.decimalMapper();

  private Retry() {}

  /** Sends a request that has an idempotency id until it is known what came of it. */
  static TransactAnswer once(DataApi data, String account, TransactRequest request)
      throws ApiException, IOException, InterruptedException {
    int waits = Objects.requireNonNullElse(request.getLockWait(), 0);
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(waits + SECONDS);
    for (long pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        return data.transact(account, request);
      } catch (ApiException exception) {
        if (Errors.is(ErrorCode.DUPLICATE_REQUEST, exception)) {
          return firstAnswer(exception);
        }
        long wait = Math.max(pause, Errors.retryAfter(exception).toMillis());
        long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
        if (!Errors.mayPass(exception) || left < wait) {
          throw exception;
        }
        Thread.sleep(wait);
      }
    }
  }

  /** What the same request was answered when it was applied. */
  private static TransactAnswer firstAnswer(ApiException exception)
      throws ApiException, IOException {
    ErrorAnswer duplicate = Errors.answer(exception).orElseThrow(() -> exception);
    if (!duplicate.getSameRequest() || duplicate.getResponse() == null) {
      throw exception;
    }
    return MAPPER.treeToValue(duplicate.getResponse(), TransactAnswer.class);
  }
}
