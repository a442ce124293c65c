package scenario;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Uses the generated client for what people use the server for, and asserts what comes of it. */
public final class Scenario {
  /** One thing that has to hold. */
  private interface Part {
    void run(Server server) throws Exception;
  }

  private Scenario() {}

  public static void main(String[] arguments) throws Exception {
    Server server = Server.fromEnvironment();
    for (Map.Entry<String, List<Part>> step : steps().entrySet()) {
      try {
        for (Part part : step.getValue()) {
          part.run(server);
        }
      } catch (Exception | AssertionError failure) {
        System.out.println("failed: " + step.getKey());
        throw failure;
      }
      System.out.println("ok: " + step.getKey());
    }
  }

  private static Map<String, List<Part>> steps() {
    var steps = new LinkedHashMap<String, List<Part>>();
    steps.put("auth", List.of(Access::rights));
    steps.put("lock with a wait", List.of(Locks::lockWithWait));
    steps.put("guarded write", List.of(Locks::guardedWrite));
    steps.put(
        "holding a lock",
        List.of(Locks::heldLonger, Locks::heldNoMore, Locks::heldOutOfReach, Locks::takenTwice));
    steps.put("counter", List.of(Counters::additions));
    steps.put("compare-and-swap", List.of(Values::conflict, Values::appends));
    steps.put("idempotent retry", List.of(Counters::sentAgain, Counters::notSentAgain));
    steps.put("watch loop", List.of(Watches::loop, Watches::nothingAndDeletion));
    steps.put("list pages", List.of(Lists::pages));
    steps.put("exact numbers and values", List.of(Counters::exact, Values::numbers, Values::bytes));
    return steps;
  }
}
