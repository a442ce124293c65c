package scenario;

import clouddragon.client.ApiClient;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import com.fasterxml.jackson.databind.deser.std.StdDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.POJONode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;

/** Mappers for clients that lose nothing of a value. It can be copied. */
final class ExactJson {
  private static final JsonFactory FACTORY = new CharArrayFactory();

  private ExactJson() {}

  /** Keeps all digits of numbers with a point, which by default become doubles. */
  static ObjectMapper decimalMapper() {
    return ApiClient.createDefaultObjectMapper()
        .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
        .configure(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES, false);
  }

  /** Reads each value as the text that it is, byte for byte: see {@link #text}. */
  static ObjectMapper rawMapper() {
    return ApiClient.createDefaultObjectMapper()
        .copyWith(FACTORY.copy())
        .registerModule(new SimpleModule().addDeserializer(JsonNode.class, new RawReader()));
  }

  /** A value that is sent as this text, with any mapper. It is refused when it is not JSON. */
  static JsonNode raw(String text) throws IOException {
    try (JsonParser parser = FACTORY.createParser(text)) {
      if (parser.nextToken() == null || parser.skipChildren().nextToken() != null) {
        throw new JsonParseException(parser, "not one JSON value");
      }
    }
    return node(text);
  }

  /** The text of a value that {@link #raw} or a client with the {@link #rawMapper} made. */
  static String text(JsonNode value) {
    return ((RawValue) ((POJONode) value).getPojo()).rawValue().toString();
  }

  private static JsonNode node(String text) {
    return JsonNodeFactory.instance.rawValueNode(new RawValue(text));
  }

  /** Takes the text of a value from the text of the answer. */
  private static final class RawReader extends StdDeserializer<JsonNode> {
    private static final long serialVersionUID = 1;

    RawReader() {
      super(JsonNode.class);
    }

    @Override
    public JsonNode deserialize(JsonParser parser, DeserializationContext context)
        throws IOException {
      var start = parser.currentTokenLocation();
      parser.skipChildren();
      parser.finishToken();
      char[] answer = (char[]) start.contentReference().getRawContent();
      int from = (int) start.getCharOffset();
      int to = (int) parser.currentLocation().getCharOffset();
      return node(new String(answer, from, to - from));
    }

    @Override
    public JsonNode getNullValue(DeserializationContext context) {
      return node("null");
    }
  }

  /** Has the whole text at hand while it is parsed. */
  private static final class CharArrayFactory extends JsonFactory {
    private static final long serialVersionUID = 1;

    CharArrayFactory() {
      enable(StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION.mappedFeature());
      setStreamReadConstraints(
          StreamReadConstraints.builder().maxNumberLength(Integer.MAX_VALUE).build());
    }

    @Override
    public JsonParser createParser(String text) throws IOException {
      return createParser(text.toCharArray());
    }

    @Override
    public JsonFactory copy() {
      return new CharArrayFactory();
    }
  }
}
