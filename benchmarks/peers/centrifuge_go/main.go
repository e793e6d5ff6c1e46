// A room server on the Centrifuge library: JSON protocol over WebSocket, anonymous connections, memory engine.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/centrifugal/centrifuge"
)

func main() {
	address := flag.String("address", "127.0.0.1:8000", "where to listen")
	joinLeave := flag.Bool("join-leave", false, "announce joins and leaves, and keep presence")
	flag.Parse()

	node, err := newNode(*joinLeave)
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	// Buffers as in the library's own examples.
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		ReadBufferSize:     1024,
		UseWriteBufferPool: true,
	}))
	go func() {
		log.Fatal(http.ListenAndServe(*address, nil))
	}()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	_ = node.Shutdown(context.Background())
}

func newNode(joinLeave bool) (*centrifuge.Node, error) {
	config := centrifuge.DefaultConfig
	config.LogLevel = centrifuge.LogLevelError
	config.LogHandler = func(entry centrifuge.LogEntry) {
		log.Printf("%s: %v", entry.Message, entry.Fields)
	}
	node, err := centrifuge.New(config)
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: ""}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			done(centrifuge.SubscribeReply{
				Options: centrifuge.SubscribeOptions{Presence: joinLeave, JoinLeave: joinLeave},
			}, nil)
		})
		client.OnPublish(func(event centrifuge.PublishEvent, done centrifuge.PublishCallback) {
			if !client.IsSubscribed(event.Channel) {
				done(centrifuge.PublishReply{}, centrifuge.ErrorPermissionDenied)
				return
			}
			// Others have to know whose cursor it is.
			done(centrifuge.PublishReply{
				Options: centrifuge.PublishOptions{ClientInfo: event.ClientInfo},
			}, nil)
		})
		client.OnPresence(func(_ centrifuge.PresenceEvent, done centrifuge.PresenceCallback) {
			done(centrifuge.PresenceReply{}, nil)
		})
	})
	return node, nil
}
