package scenario;

import clouddragon.client.ApiClient;
import clouddragon.client.api.DataApi;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;

/** The server that the scenario runs against. */
record Server(String url, String breakingUrl, String token, String readToken, String account) {
  /** Above the 300 seconds that a lock or a watch waits at most. */
  private static final Duration READ_TIMEOUT = Duration.ofSeconds(310);

  static Server fromEnvironment() {
    return new Server(
        variable("DRAGON_SERVER"),
        variable("DRAGON_BREAKING_SERVER"),
        variable("DRAGON_TOKEN"),
        variable("DRAGON_READ_TOKEN"),
        variable("DRAGON_ACCOUNT"));
  }

  /** A client of its own, with connections of its own. */
  DataApi client() {
    return new DataApi(settings(url, token));
  }

  DataApi readingClient() {
    return new DataApi(settings(url, readToken));
  }

  DataApi clientWithoutToken() {
    var settings = new ApiClient();
    settings.updateBaseUri(url);
    return new DataApi(settings);
  }

  /** One whose first request gets no answer; for requests that do not wait. */
  DataApi breakingClient() {
    ApiClient settings = settings(breakingUrl, token);
    settings.setReadTimeout(Duration.ofSeconds(15));
    return new DataApi(settings);
  }

  /** One that does not reach the server any more once this is set. */
  DataApi client(AtomicBoolean cut) {
    return new DataApi(
        settings(url, token)
            .setRequestInterceptor(
                request -> {
                  request.header("Authorization", "Bearer " + token);
                  if (cut.get()) {
                    request.uri(URI.create("http://127.0.0.1:1"));
                  }
                }));
  }

  DataApi client(ObjectMapper mapper) {
    return new DataApi(settings(url, token).setObjectMapper(mapper));
  }

  private static ApiClient settings(String url, String token) {
    var settings = new ApiClient();
    settings.updateBaseUri(url);
    settings.setConnectTimeout(Duration.ofSeconds(10));
    settings.setReadTimeout(READ_TIMEOUT);
    settings.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
    return settings;
  }

  private static String variable(String name) {
    String value = System.getenv(name);
    if (value == null) {
      throw new IllegalStateException(name + " is not set");
    }
    return value;
  }
}
