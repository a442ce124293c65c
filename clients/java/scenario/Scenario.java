package scenario;

import java.util.LinkedHashMap;
import java.util.Map;

/** Uses the generated client for what people use the server for, and asserts what comes of it. */
public final class Scenario {
  /** One thing that has to hold. */
  private interface Step {
    void run(Server server) throws Exception;
  }

  private Scenario() {}

  public static void main(String[] arguments) throws Exception {
    Server server = Server.fromEnvironment();
    for (Map.Entry<String, Step> step : steps().entrySet()) {
      try {
        step.getValue().run(server);
      } catch (Exception | AssertionError failure) {
        System.out.println("failed: " + step.getKey());
        throw failure;
      }
      System.out.println("ok: " + step.getKey());
    }
  }

  private static Map<String, Step> steps() {
    var steps = new LinkedHashMap<String, Step>();
    steps.put("no token, a token that may only read", Access::rights);
    steps.put("a lock with a wait", Locks::lockWithWait);
    steps.put("a write that a lock guards", Locks::guardedWrite);
    steps.put("a counter from several clients, a sequence", Counters::additions);
    steps.put("compare-and-swap, a conflict by its code", Values::conflict);
    steps.put("compare-and-swap from several writers", Values::appends);
    steps.put("a request sent again after its answer was lost", Counters::sentAgain);
    steps.put("a watch loop", Watches::loop);
    steps.put("a watch that sees nothing, and a deletion", Watches::nothingAndDeletion);
    steps.put("lists by pages", Lists::pages);
    steps.put("64-bit counters", Counters::exact);
    steps.put("numbers in values", Values::numbers);
    steps.put("values byte for byte", Values::bytes);
    return steps;
  }
}
