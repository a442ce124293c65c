package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.util.Optional;

/** What an exception of the client says. It can be copied, with ExactJson.java. */
final class Errors {
  private static final ObjectMapper MAPPER = ExactJson.decimalMapper();

  private Errors() {}

  /** The server's answer, or nothing when it did not answer or something before it did. */
  static Optional<ErrorAnswer> answer(ApiException exception) {
    if (exception.getResponseBody() == null) {
      return Optional.empty();
    }
    try {
      return Optional.ofNullable(MAPPER.readValue(exception.getResponseBody(), ErrorAnswer.class));
    } catch (JsonProcessingException notOfTheServer) {
      return Optional.empty();
    }
  }

  /** Whether the server said this. */
  static boolean is(ErrorCode code, ApiException exception) {
    return answer(exception).map(ErrorAnswer::getCode).filter(code::equals).isPresent();
  }

  /**
   * Whether the connection broke or timed out, so that the request may have been applied or not.
   */
  static boolean isBroken(ApiException exception) {
    return exception.getCause() instanceof IOException;
  }

  /**
   * Whether the same request may go through later; one with an idempotency id can just be sent
   * again.
   */
  static boolean mayPass(ApiException exception) {
    return isBroken(exception)
        || is(ErrorCode.UNAVAILABLE, exception)
        || is(ErrorCode.OUTCOME_UNKNOWN, exception)
        || is(ErrorCode.TOO_MANY_REQUESTS, exception);
  }

  /** How long the server asks to wait before that. */
  static Duration retryAfter(ApiException exception) {
    return Optional.ofNullable(exception.getResponseHeaders())
        .map(headers -> headers.firstValueAsLong("retry-after").orElse(0))
        .map(Duration::ofSeconds)
        .orElse(Duration.ZERO);
  }
}
