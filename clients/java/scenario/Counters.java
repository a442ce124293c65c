package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.AtomicOperation;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.TransactAnswer;
import clouddragon.client.model.TransactRequest;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.http.HttpHeaders;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.stream.LongStream;

/** Counters, sequences, and requests that are sent again. */
final class Counters {
  private static final ObjectMapper MAPPER = ExactJson.decimalMapper();

  private Counters() {}

  static void additions(Server server) throws Exception {
    List<DataApi> clients = List.of(server.client(), server.client(), server.client());
    var additions = new ArrayList<Callable<Long>>();
    for (int i = 0; i < 10; i++) {
      DataApi data = clients.get(i % clients.size());
      additions.add(() -> add(data, server.account(), "visits", 1));
    }
    var answers = new TreeSet<Long>(Check.together(additions));
    Check.equal(LongStream.rangeClosed(1, 10).boxed().toList(), List.copyOf(answers));

    long last = add(clients.get(0), server.account(), "visits", 100);
    Check.equal(11L, last - 100 + 1);
    Check.equal(110L, last);
  }

  static void sentAgain(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.breakingClient();
    var payment =
        new TransactRequest()
            .addIdempotencyIDsItem("payment-4711")
            .addAtomicItem(new AtomicOperation().key("paid").add(30L));

    Check.that(isLost(data, account, payment), "the first answer is lost");
    ErrorAnswer duplicate =
        Check.refused(409, ErrorCode.DUPLICATE_REQUEST, () -> data.transact(account, payment));
    Check.equal("payment-4711", duplicate.getId());
    Check.equal(true, duplicate.getSameRequest());
    TransactAnswer first = MAPPER.treeToValue(duplicate.getResponse(), TransactAnswer.class);
    Check.equal(30L, first.getAtomic().get(0).getValue());
    Check.equal(first, Retry.once(data, account, payment));
    Check.equal(30L, read(data, account, "paid"));
  }

  static void notSentAgain(Server server) throws Exception {
    var other =
        new TransactRequest()
            .addIdempotencyIDsItem("payment-4711")
            .addAtomicItem(new AtomicOperation().key("paid").add(31L));
    ErrorAnswer duplicate =
        Check.refused(
            409,
            ErrorCode.DUPLICATE_REQUEST,
            () -> Retry.once(server.client(), server.account(), other));
    Check.equal(false, duplicate.getSameRequest());

    Check.that(Errors.mayPass(gatewaySays(502, "<h1>Bad Gateway</h1>")), "it may pass");
    Check.that(Errors.mayPass(gatewaySays(504, "{\"message\":\"timeout\"}")), "it may pass");
    Check.that(!Errors.mayPass(gatewaySays(404, "<h1>Not Found</h1>")), "it won't pass");
    Check.equal(Duration.ZERO, Errors.retryAfter(gatewaySays(503, "")));
  }

  private static ApiException gatewaySays(int status, String body) {
    var headers = Map.of("Retry-After", List.of("Fri, 31 Dec 1999 23:59:59 GMT"));
    return new ApiException(status, HttpHeaders.of(headers, (name, value) -> true), body);
  }

  static void exact(Server server) throws Exception {
    DataApi data = server.client();
    for (long value : new long[] {9007199254740993L, Long.MAX_VALUE, Long.MIN_VALUE}) {
      var set = new AtomicOperation().key("exact").set(value);
      data.transact(server.account(), new TransactRequest().addAtomicItem(set));
      Check.equal(value, read(data, server.account(), "exact"));
    }
  }

  private static boolean isLost(DataApi data, String account, TransactRequest request) {
    try {
      data.transact(account, request);
      return false;
    } catch (ApiException exception) {
      return Errors.isBroken(exception) && Errors.answer(exception).isEmpty();
    }
  }

  private static long add(DataApi data, String account, String key, long number)
      throws ApiException {
    var addition = new AtomicOperation().key(key).add(number);
    return data.transact(account, new TransactRequest().addAtomicItem(addition))
        .getAtomic()
        .get(0)
        .getValue();
  }

  private static long read(DataApi data, String account, String key) throws ApiException {
    var read = new AtomicOperation().key(key);
    return data.transact(account, new TransactRequest().addAtomicItem(read))
        .getAtomic()
        .get(0)
        .getValue();
  }
}
