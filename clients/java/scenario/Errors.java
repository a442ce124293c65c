package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;

/** What an exception of the client says. It can be copied, with ExactJson.java. */
final class Errors {
  private static final ObjectMapper MAPPER = ExactJson.decimalMapper();
  private static final Set<Integer> GATEWAY = Set.of(500, 502, 503, 504);

  private Errors() {}

  /** The server's answer, or nothing when it did not answer or something before it did. */
  static Optional<ErrorAnswer> answer(ApiException exception) {
    if (exception.getResponseBody() == null) {
      return Optional.empty();
    }
    try {
      ErrorAnswer answer = MAPPER.readValue(exception.getResponseBody(), ErrorAnswer.class);
      return Optional.ofNullable(answer).filter(given -> given.getCode() != null);
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

  /** Whether something before the server, a gateway say, could not reach it or did not wait. */
  static boolean isOfGateway(ApiException exception) {
    return GATEWAY.contains(exception.getCode()) && answer(exception).isEmpty();
  }

  /**
   * Whether the same request may go through later; one with an idempotency id can just be sent
   * again.
   */
  static boolean mayPass(ApiException exception) {
    return isBroken(exception)
        || isOfGateway(exception)
        || is(ErrorCode.UNAVAILABLE, exception)
        || is(ErrorCode.OUTCOME_UNKNOWN, exception)
        || is(ErrorCode.TOO_MANY_REQUESTS, exception);
  }

  /** How long the server asks to wait before that. */
  static Duration retryAfter(ApiException exception) {
    return Optional.ofNullable(exception.getResponseHeaders())
        .flatMap(headers -> headers.firstValue("Retry-After"))
        .filter(seconds -> seconds.matches("\\d{1,9}"))
        .map(seconds -> Duration.ofSeconds(Long.parseLong(seconds)))
        .orElse(Duration.ZERO);
  }
}
