package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.GetOperation;
import clouddragon.client.model.SetOperation;
import clouddragon.client.model.TransactRequest;
import clouddragon.client.model.ValueState;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.Callable;

/** Values: compare-and-swap, and what survives of them. */
final class Values {
  private static final String EXACT =
      "{\"b\":1,\"a\":9007199254740993,\"big\":123456789012345678901234567890,"
          + "\"d\":1.10,\"e\":\"\\u00e9\"}";

  private Values() {}

  static void conflict(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    write(data, account, "limits", new IntNode(1));
    long read = get(data, account, "limits").getVersion();
    long theirs = write(server.client(), account, "limits", new IntNode(2));

    var stale = new SetOperation().key("limits").value(new IntNode(3)).ifVersion(read);
    ErrorAnswer refused =
        Check.refused(
            409,
            ErrorCode.PRECONDITION_FAILED,
            () -> data.transact(account, new TransactRequest().addKvSetItem(stale)));
    Check.equal("limits", refused.getKey());
    Check.equal(theirs, refused.getVersion());

    append(data, account, "log", 0);
    Check.equal(1, get(data, account, "log").getValue().size());
  }

  static void appends(Server server) throws Exception {
    String account = server.account();
    var writers = new ArrayList<Callable<Void>>();
    for (int i = 1; i <= 6; i++) {
      int number = i;
      writers.add(
          () -> {
            append(server.client(), account, "log", number);
            return null;
          });
    }
    Check.together(writers);

    Set<Integer> numbers = new HashSet<>();
    get(server.client(), account, "log").getValue().forEach(item -> numbers.add(item.intValue()));
    Check.equal(Set.of(0, 1, 2, 3, 4, 5, 6), numbers);
  }

  static void numbers(Server server) throws Exception {
    String account = server.account();
    ObjectMapper parser = ExactJson.decimalMapper();
    JsonNode value = parser.readTree(EXACT);

    DataApi plain = server.client();
    write(plain, account, "numbers", value);
    JsonNode read = get(plain, account, "numbers").getValue();
    Check.equal(9007199254740993L, read.get("a").longValue());
    Check.equal(
        new BigInteger("123456789012345678901234567890"), read.get("big").bigIntegerValue());
    Check.that(read.get("d").isDouble(), "by default a number with a point becomes a double");

    DataApi decimal = server.client(ExactJson.decimalMapper());
    Check.equal(
        new BigDecimal("1.10"),
        get(decimal, account, "numbers").getValue().get("d").decimalValue());
    Check.equal(value, get(decimal, account, "numbers").getValue());

    // Also what is not ASCII, and the difference between no value and the value null.
    write(plain, account, "numbers", new TextNode("\u00e9\u9f8d"));
    Check.equal(new TextNode("\u00e9\u9f8d"), get(plain, account, "numbers").getValue());
    write(plain, account, "numbers", NullNode.getInstance());
    Check.equal(NullNode.getInstance(), get(plain, account, "numbers").getValue());
    Check.equal(null, get(plain, account, "not there").getValue());
  }

  static void bytes(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client(ExactJson.rawMapper());
    String unicode = "[\"\u00e9\u9f8d\\n\", {\"a\" :1e3,\"a\":-0.0}]";
    String large = "[\"" + "x".repeat(100_000) + "\",1.10]";
    String digits = "1".repeat(5_000);
    for (String text :
        new String[] {EXACT, unicode, large, digits, "0", "1.10", "\"\\u00e9\"", "null", "[]"}) {
      write(data, account, "bytes", ExactJson.raw(text));
      Check.equal(text, ExactJson.text(get(data, account, "bytes").getValue()));
    }
    Check.equal(null, get(data, account, "not there").getValue());
    for (String text : new String[] {"", "1}", "1,2", "{\"a\":1}}", "[1", "x"}) {
      Check.fails(JsonParseException.class, () -> ExactJson.raw(text));
    }
  }

  /** Appends to a list that others append to at the same time. */
  static void append(DataApi data, String account, String key, int item) throws ApiException {
    while (true) {
      ValueState state = get(data, account, key);
      ArrayNode list = JsonNodeFactory.instance.arrayNode();
      if (state.getVersion() != 0) {
        list.addAll((ArrayNode) state.getValue());
      }
      list.add(item);
      var swap = new SetOperation().key(key).value(list).ifVersion(state.getVersion());
      try {
        data.transact(account, new TransactRequest().addKvSetItem(swap));
        return;
      } catch (ApiException exception) {
        if (!Errors.is(ErrorCode.PRECONDITION_FAILED, exception)) {
          throw exception;
        }
        // Someone else was faster: read it again.
      }
    }
  }

  /** Writes a value, and returns its version. */
  static long write(DataApi data, String account, String key, JsonNode value) throws ApiException {
    var operation = new SetOperation().key(key).value(value);
    return data.transact(account, new TransactRequest().addKvSetItem(operation)).getVersion();
  }

  private static ValueState get(DataApi data, String account, String key) throws ApiException {
    var request = new TransactRequest().addKvGetItem(new GetOperation().key(key));
    return data.transact(account, request).getKv().get(0);
  }
}
